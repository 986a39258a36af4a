/* What the guest asks of its host. Addresses and lengths are in linear memory; texts are UTF-8. */
#ifndef TIDEMARK_HOST_H
#define TIDEMARK_HOST_H

#include <stdint.h>

#define HOST(name) __attribute__((import_module("host"), import_name(#name)))

/* Ends the call: the memory limit is reached. The host traps, so that no code of the guest runs after it. */
HOST(out_of_memory) _Noreturn extern void host_out_of_memory(void);

/* Answers a request at once. Returns the length of the answer, which `host_take` then copies, or its bitwise
   complement if the answer is an error. `kind` is one of the numbers in host.rs and platform/host.js. */
HOST(request) extern int32_t host_request(int32_t kind, const char *a, uint32_t a_length, const char *b,
                                          uint32_t b_length);
HOST(take) extern void host_take(char *destination);

/* Queues an operation, which the host answers by `guest_resolve` after the guest returned. `body` is bytes that go with
   it. */
HOST(operation) extern void host_operation(int32_t id, const char *name, uint32_t name_length, const char *arguments,
                                           uint32_t arguments_length, const char *body, uint32_t body_length);

/* Hands over the outcome of what the host asked for: a call's result, a thrown error, compiled bytecode. Parts that were
   handed over before come first. */
HOST(outcome_part) extern void host_outcome_part(const char *bytes, uint32_t length);
HOST(outcome) extern void host_outcome(int32_t succeeded, const char *bytes, uint32_t length);

/* Fills with random bytes from the seed of the call. */
HOST(random) extern void host_random(char *destination, uint32_t length);

/* The call's clock, in milliseconds since the Unix epoch. */
HOST(now) extern double host_now(void);

/* The bytecode of a module: its length, for `host_take`, or -1 if there is none. */
HOST(module) extern int32_t host_module(const char *path, uint32_t length);

#endif
