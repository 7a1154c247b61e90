/* reader_private - what the files of the reader share */
#pragma once

#include "queue/filter.h"
#include "queue/reader.h"
#include "queue/store.h"

struct queue_reader {
	struct queue_store *store;
	struct queue_bodies bodies;
	const int64_t *active_ids; /* the caller's */
	size_t active_count;
	struct queue_activity activity;
};
