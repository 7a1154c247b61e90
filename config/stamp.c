/* stamp - whether a file is the one that it was, without reading it */
#include "config/state.h"

#include <errno.h>

void config_stamp_take(const char *path, struct config_stamp *ret)
{
	*ret = (struct config_stamp){ 0 };
	if (stat(path, &ret->st) < 0)
		ret->trouble = errno;
}

static bool is_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool config_stamp_is_same(const struct config_stamp *a, const struct config_stamp *b)
{
	return a->trouble == 0 && b->trouble == 0 && a->st.st_dev == b->st.st_dev &&
	       a->st.st_ino == b->st.st_ino && a->st.st_size == b->st.st_size &&
	       is_same_time(a->st.st_mtim, b->st.st_mtim);
}

bool config_stamp_is_equal(const struct config_stamp *a, const struct config_stamp *b)
{
	if (a->trouble || b->trouble)
		return a->trouble == b->trouble;
	return config_stamp_is_same(a, b) && is_same_time(a->st.st_ctim, b->st.st_ctim);
}
