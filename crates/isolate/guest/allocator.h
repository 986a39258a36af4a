/* Memory for the JavaScript engine, in two lives: before and after the image is sealed. */
#ifndef TIDEMARK_ALLOCATOR_H
#define TIDEMARK_ALLOCATOR_H

#include <stddef.h>
#include <stdint.h>

void *allocator_allocate(size_t size);
void *allocator_allocate_zeroed(size_t size);
void *allocator_reallocate(void *block, size_t size);
void allocator_free(void *block);
size_t allocator_usable_size(const void *block);

/* Leaves everything that is allocated alone for ever, and goes on in a fresh region of `spare_pages` pages of
   64 KiB. Blocks from before are read and written as ever; freeing them does nothing. Returns the region's start. */
uint32_t allocator_seal(uint32_t spare_pages);

/* The most that the region may take from here on, in bytes. Exceeding it ends the call. */
void allocator_limit(uint32_t bytes);
uint32_t allocator_limited_to(void);

/* What the region has taken so far, in bytes. */
uint32_t allocator_taken(void);

#endif
