/* Allocates from one contiguous region that only grows at its end.

   Blocks up to SMALL_MAX come in size classes, four per doubling; a freed one waits on its class's list. (The engine
   has an allocator of its own for objects, above this one: what arrives here are its 4 KiB arenas, property tables,
   arrays and strings.) Larger blocks are multiples of LARGE_UNIT; freed ones wait on one list in the order of their
   addresses and merge with their neighbours, so that a growing string or array does not leave a trail behind.

   Nothing ever moves, and nothing is returned to the host: after the call the host restores the memory as a whole. */
#include "allocator.h"
#include "host.h"

#include <string.h>

#define PAGE 65536u
#define GROWTH_PAGES_MIN 16u
#define SMALL_MAX 32768u
#define CLASS_COUNT 44
#define LARGE_UNIT 1024u
#define LARGE_CLASS 0xffffffffu

typedef struct Block {
    uint32_t class; /* or LARGE_CLASS */
    uint32_t size;  /* of the payload */
} Block;

/* A free large block; the fields lie in the payload. */
typedef struct FreeLarge {
    Block header;
    struct FreeLarge *next;
} FreeLarge;

extern char __heap_base;

static char *region_start, *next_block, *region_end;
static uint32_t region_limit = UINT32_MAX;
static Block *free_small[CLASS_COUNT];
static FreeLarge *free_large;

static void *payload(Block *block) { return block + 1; }
static Block *header(const void *payload) { return (Block *)payload - 1; }
static char *end_of(Block *block) { return (char *)(block + 1) + block->size; }

static uint32_t round_up(uint32_t size, uint32_t unit) { return (size + unit - 1) & ~(unit - 1); }

/* The class of a small size, and the size of its blocks. */
static uint32_t small_class(uint32_t size, uint32_t *class_size) {
    if (size <= 64) {
        *class_size = size ? round_up(size, 8) : 8;
        return *class_size / 8 - 1;
    }
    uint32_t doubling = 31 - __builtin_clz(size - 1); /* 2^doubling < size <= 2^(doubling + 1) */
    uint32_t step = 1u << (doubling - 2);
    *class_size = round_up(size, step);
    return 8 + (doubling - 6) * 4 + (*class_size - (1u << doubling)) / step - 1;
}

/* Makes sure that `length` bytes lie between next_block and region_end. */
static void reserve(uint32_t length) {
    if ((uint32_t)(region_end - next_block) >= length)
        return;
    if (!region_start) {
        region_start = next_block = (char *)(uintptr_t)round_up((uint32_t)(uintptr_t)&__heap_base, 16);
        region_end = (char *)(__builtin_wasm_memory_size(0) * PAGE);
        reserve(length);
        return;
    }
    if ((uint64_t)(next_block - region_start) + length > region_limit)
        host_out_of_memory();
    uint32_t missing = length - (uint32_t)(region_end - next_block);
    uint32_t pages = missing / PAGE + 1;
    if (pages < GROWTH_PAGES_MIN)
        pages = GROWTH_PAGES_MIN;
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1)
        host_out_of_memory();
    region_end += pages * PAGE;
}

/* First fit. The rest of a block that is much larger stays free. */
static Block *take_free_large(uint32_t size) {
    for (FreeLarge **link = &free_large; *link; link = &(*link)->next) {
        FreeLarge *found = *link;
        if (found->header.size < size)
            continue;
        uint32_t rest = found->header.size - size;
        if (rest >= SMALL_MAX) {
            FreeLarge *remainder = (FreeLarge *)((char *)payload(&found->header) + size);
            remainder->header = (Block){LARGE_CLASS, rest - sizeof(Block)};
            remainder->next = found->next;
            *link = remainder;
            found->header.size = size;
        } else {
            *link = found->next;
        }
        return &found->header;
    }
    return NULL;
}

static void put_free_large(Block *block) {
    FreeLarge **link = &free_large, *previous = NULL;
    while (*link && (char *)*link < (char *)block) {
        previous = *link;
        link = &previous->next;
    }
    FreeLarge *freed = (FreeLarge *)block, *following = *link;
    if (following && end_of(block) == (char *)following) {
        block->size += sizeof(Block) + following->header.size;
        following = following->next;
    }
    freed->next = following;
    if (previous && end_of(&previous->header) == (char *)block) {
        previous->header.size += sizeof(Block) + block->size;
        previous->next = following;
    } else {
        *link = freed;
    }
}

/* Grows a large block in place, where what follows it is free. */
static int extend_large(Block *block, uint32_t size) {
    uint32_t missing = size - block->size;
    if (end_of(block) == next_block) {
        reserve(missing);
        next_block += missing;
        block->size = size;
        return 1;
    }
    for (FreeLarge **link = &free_large; *link && (char *)*link <= end_of(block); link = &(*link)->next) {
        FreeLarge *following = *link;
        if ((char *)following != end_of(block))
            continue;
        if (sizeof(Block) + following->header.size < missing)
            return 0;
        *link = following->next;
        block->size += sizeof(Block) + following->header.size;
        return 1;
    }
    return 0;
}

static Block *carve(uint32_t class, uint32_t size) {
    reserve(size + sizeof(Block));
    Block *block = (Block *)next_block;
    next_block += size + sizeof(Block);
    *block = (Block){class, size};
    return block;
}

void *allocator_allocate(size_t requested) {
    if (requested > INT32_MAX)
        host_out_of_memory();
    if (requested > SMALL_MAX) {
        uint32_t size = round_up(requested, LARGE_UNIT);
        Block *block = take_free_large(size);
        return payload(block ? block : carve(LARGE_CLASS, size));
    }
    uint32_t size, class = small_class(requested, &size);
    Block *block = free_small[class];
    if (block) {
        free_small[class] = *(Block **)payload(block);
        return payload(block);
    }
    return payload(carve(class, size));
}

void *allocator_allocate_zeroed(size_t size) {
    return memset(allocator_allocate(size), 0, size);
}

void allocator_free(void *freed) {
    if (!freed || (char *)freed < region_start)
        return; /* Part of the image. */
    Block *block = header(freed);
    if (block->class == LARGE_CLASS) {
        put_free_large(block);
    } else {
        *(Block **)freed = free_small[block->class];
        free_small[block->class] = block;
    }
}

size_t allocator_usable_size(const void *block) { return block ? header(block)->size : 0; }

void *allocator_reallocate(void *old, size_t size) {
    if (!old)
        return allocator_allocate(size);
    Block *block = header(old);
    int is_ours = (char *)old >= region_start;
    if (is_ours && size <= block->size && size > block->size / 2)
        return old;
    if (is_ours && block->class == LARGE_CLASS && size > block->size && size <= INT32_MAX &&
        extend_large(block, round_up(size, LARGE_UNIT)))
        return old;
    void *moved = allocator_allocate(size);
    memcpy(moved, old, size < block->size ? size : block->size);
    allocator_free(old);
    return moved;
}

uint32_t allocator_seal(uint32_t spare_pages) {
    /* What was freed shall take no room in the image. */
    for (FreeLarge *block = free_large; block; block = block->next)
        memset(block + 1, 0, block->header.size - (sizeof(FreeLarge) - sizeof(Block)));
    memset(next_block, 0, region_end - next_block);
    uint32_t first_page = __builtin_wasm_memory_size(0);
    if (__builtin_wasm_memory_grow(0, spare_pages) == (size_t)-1)
        host_out_of_memory();
    region_start = next_block = (char *)(first_page * PAGE);
    region_end = region_start + spare_pages * PAGE;
    memset(free_small, 0, sizeof(free_small));
    free_large = NULL;
    return (uint32_t)(uintptr_t)region_start;
}

void allocator_limit(uint32_t bytes) { region_limit = bytes; }

uint32_t allocator_taken(void) { return next_block - region_start; }

uint32_t allocator_limited_to(void) { return region_limit; }
