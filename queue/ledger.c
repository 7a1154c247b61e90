/* ledger - entries, column by column */
#include "queue/ledger.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "queue/ledger_columns.h"

#define COLUMN(type, column, field)                                                                \
	{ #column, QUEUE_LEDGER_##type, offsetof(struct queue_ledger_entry, field) },
#define NOTHING

/* clang-format off */
const struct queue_ledger_column queue_ledger_columns[QUEUE_LEDGER_COLUMN_COUNT] = {
	QUEUE_LEDGER_COLUMNS(COLUMN, NOTHING)
};
/* clang-format on */

#define ONE(type, column, field) +1
static_assert(QUEUE_LEDGER_COLUMNS(ONE, NOTHING) == QUEUE_LEDGER_COLUMN_COUNT, "all are counted");

static const void *place(const struct queue_ledger_entry *entry,
			 const struct queue_ledger_column *column)
{
	return (const char *)entry + column->offset;
}

int64_t queue_ledger_number(const struct queue_ledger_entry *entry,
			    const struct queue_ledger_column *column)
{
	const void *at = place(entry, column);

	switch (column->type) {
	case QUEUE_LEDGER_INT:
		return *(const int64_t *)at;
	case QUEUE_LEDGER_ENUM:
		return *(const unsigned int *)at;
	case QUEUE_LEDGER_BOOL:
		return *(const bool *)at;
	case QUEUE_LEDGER_TEXT:
		break;
	}
	assert(false);
	return 0;
}

const char *queue_ledger_text(const struct queue_ledger_entry *entry,
			      const struct queue_ledger_column *column)
{
	const char *const *at = place(entry, column);

	assert(column->type == QUEUE_LEDGER_TEXT);
	return *at ? *at : "";
}

int queue_ledger_set_number(struct queue_ledger_entry *entry,
			    const struct queue_ledger_column *column, int64_t value)
{
	bool is_status = column->offset == offsetof(struct queue_ledger_entry, status);
	void *at = (char *)entry + column->offset;

	switch (column->type) {
	case QUEUE_LEDGER_INT:
		*(int64_t *)at = value;
		return 0;
	case QUEUE_LEDGER_ENUM:
		if (value < 0 || value > (is_status ? (int)QUEUE_DELETED : (int)QUEUE_LEDGER_GAP))
			return -EBADMSG;
		*(unsigned int *)at = (unsigned int)value;
		return 0;
	case QUEUE_LEDGER_BOOL:
		*(bool *)at = value != 0;
		return 0;
	case QUEUE_LEDGER_TEXT:
		break;
	}
	assert(false);
	return -EBADMSG;
}

void queue_ledger_set_text(struct queue_ledger_entry *entry,
			   const struct queue_ledger_column *column, const char *text)
{
	const char **at = (const char **)((char *)entry + column->offset);

	assert(column->type == QUEUE_LEDGER_TEXT);
	*at = text;
}

void queue_ledger_keep(struct arena *arena, struct queue_ledger_entry *entry)
{
	for (size_t i = 0; i < ARRAY_SIZE(queue_ledger_columns); i++) {
		const struct queue_ledger_column *column = &queue_ledger_columns[i];
		const char *text;

		if (column->type != QUEUE_LEDGER_TEXT)
			continue;
		text = queue_ledger_text(entry, column);
		queue_ledger_set_text(entry, column, *text ? arena_strdup(arena, text) : "");
	}
}
