/* The guest: the JavaScript engine with what the host calls in it.

   Texts that the host brings lie in blocks which it got by `guest_allocate`; the function that takes them frees them.
   Functions that return a status return 0 if they succeeded; otherwise the error went out by `host_outcome`. */
#include "allocator.h"
#include "host.h"
#include "text.h"

#include "quickjs.h"

#include <string.h>

#define EXPORT(name) __attribute__((export_name(#name))) name

/* Added to the engine's sources at build time (build/edits.rs). */
void JS_Seal(JSRuntime *runtime, size_t collect_after_bytes);
JSValue JS_GetAsyncContext(JSContext *context);
void JS_SetAsyncContext(JSContext *context, JSValueConst value);
JSValue JS_NewPendingPromise(JSContext *context);
typedef struct JSCallers JSCallers;
JSCallers *JS_TakeCallers(JSContext *context);
void JS_SetCallers(JSContext *context, JSValueConst error, const JSCallers *callers);
void JS_FreeCallers(JSContext *context, JSCallers *callers);
JSValue JS_GetFrames(JSContext *context, JSValueConst thrown);
extern JSValue (*js_map_frames)(JSContext *context, JSValueConst frames);
int JS_ReadParts(JSContext *context, JSValueConst text, uint32_t chars_max, void (*take)(const char *bytes, size_t length));
void JS_ReplaceBase64(JSContext *context);
void JS_WatchBuiltIns(JSContext *context);
void JS_WatchPlatform(JSContext *context, JSValueConst collect);
JSValue JS_ConvertDocuments(JSContext *context, JSValueConst convert, JSValueConst documents);
void JS_WatchHashing(JSContext *context, JSValueConst exports);
JSValue JS_XorWords(JSContext *context, JSValueConst *arguments);
void JS_RecogniseLibrary(JSContext *context);
extern bool (*js_recognise)(const uint8_t *text, size_t length, int8_t *function);
void JS_SettlePromise(JSContext *context, JSValueConst promise, JSValueConst value, bool is_rejected);

/* The shadow stack that JavaScript may use; the linker's stack size (toolchain.rs) leaves room above it. */
#define STACK_BYTES_MAX (7u << 20)

/* A call that stays below this never runs the cycle collector. */
#define COLLECT_AFTER_BYTES (16u << 20)

#define PLATFORM_PREFIX "tidemark:"

static JSRuntime *runtime;
static JSContext *context;

/* The exports of platform/main.js that the guest calls. */
static struct {
    JSValue configure, invoke, rejection_of, describe, add_module, analyze, declaration, rejection, unhandled,
        syscall_error;
} platform;

/* Modules may be linked only while the image is built; later `import()` would run code outside of every rule. */
static int importing;

/* Compiling a module resolves what it imports, where any module will do: imports are bound when it is evaluated. */
static int compiling;

/* Whether a promise was rejected without a handler, and its fate is open. */
static int has_rejection;

/* ---- Memory ---- */

static void *js_allocate(void *opaque, size_t size) { return allocator_allocate(size); }
static void js_deallocate(void *opaque, void *block) { allocator_free(block); }
static void *js_reallocate(void *opaque, void *block, size_t size) { return allocator_reallocate(block, size); }
static void *js_allocate_zeroed(void *opaque, size_t count, size_t size) {
    return allocator_allocate_zeroed(count * size); /* The engine has checked the product. */
}

static const JSMallocFunctions memory_functions = {
    .js_calloc = js_allocate_zeroed,
    .js_malloc = js_allocate,
    .js_free = js_deallocate,
    .js_realloc = js_reallocate,
    .js_malloc_usable_size = allocator_usable_size,
};

/* ---- What the platform's scripts call: the module tidemark:host ---- */

/* A view of a string's UTF-8 or of an ArrayBuffer's bytes. */
typedef struct Bytes {
    const char *start;
    size_t length;
    int is_string;
} Bytes;

static int bytes_of(JSContext *ctx, JSValueConst value, Bytes *bytes) {
    bytes->is_string = !JS_IsArrayBuffer(value);
    bytes->start = bytes->is_string ? JS_ToCStringLen(ctx, &bytes->length, value)
                                    : (const char *)JS_GetArrayBuffer(ctx, &bytes->length, value);
    return bytes->start || (!bytes->is_string && bytes->length == 0) ? 0 : -1;
}

static void release(JSContext *ctx, Bytes *bytes) {
    if (bytes->is_string)
        JS_FreeCString(ctx, bytes->start);
}

/* The answer to a request, which `failed` says to be an error or not. */
static JSValue ask(JSContext *ctx, int32_t kind, Bytes a, Bytes b, int *failed) {
    int32_t length = host_request(kind, a.start, a.length, b.start, b.length);
    *failed = length < 0;
    if (*failed)
        length = ~length;
    char *answer = allocator_allocate(length + 1);
    host_take(answer);
    JSValue text = JS_NewStringLen(ctx, answer, length);
    allocator_free(answer);
    return text;
}

/* request(kind, a, b): a string; throws if the answer is an error. */
static JSValue js_request(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    int32_t kind;
    Bytes a, b;
    if (JS_ToInt32(ctx, &kind, arguments[0]) || bytes_of(ctx, arguments[1], &a))
        return JS_EXCEPTION;
    if (bytes_of(ctx, arguments[2], &b)) {
        release(ctx, &a);
        return JS_EXCEPTION;
    }
    int failed;
    JSValue text = ask(ctx, kind, a, b, &failed);
    release(ctx, &a);
    release(ctx, &b);
    if (!failed || JS_IsException(text))
        return text;
    JSValue error = JS_Call(ctx, platform.syscall_error, JS_UNDEFINED, 1, &text);
    JS_FreeValue(ctx, text);
    return JS_IsException(error) ? JS_EXCEPTION : JS_Throw(ctx, error);
}

/* What the function is whose canonical text this is; library.rs knows the number and the answer. */
static bool recognise(const uint8_t *text, size_t length, int8_t *function) {
    int32_t answer = host_request(14, (const char *)text, length, "", 0);
    char roles[32];
    if (answer <= 0 || answer > (int32_t)sizeof(roles))
        return 0;
    host_take(roles);
    for (int32_t i = 0; i < answer; i++)
        function[i] = roles[i] - '1';
    return 1;
}

/* The frames of a stack in terms of the files that people wrote; outside.rs knows the number. */
static JSValue map_frames(JSContext *ctx, JSValueConst frames) {
    Bytes text, nothing = {"", 0, 0};
    if (bytes_of(ctx, frames, &text))
        return JS_EXCEPTION;
    int failed;
    JSValue mapped = ask(ctx, 5, text, nothing, &failed);
    release(ctx, &text);
    return mapped;
}

/* frames(thrown value): its frames in terms of the bundle, unless its stack was read or set already */
static JSValue js_frames(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    return JS_GetFrames(ctx, arguments[0]);
}

/* Operations that the host has not answered yet. */
static struct {
    /* The promise of an operation at its id; at a free id, the free id after it. */
    JSValue *promises;
    /* Who called it. */
    JSCallers **callers;
    int32_t capacity, free, outstanding;
} operations;

/* Keeps the promise and the callers until `answered` takes them; their id. */
static int32_t keep(JSValue promise, JSCallers *callers) {
    if (operations.free == operations.capacity) {
        operations.capacity = operations.capacity ? 2 * operations.capacity : 16;
        operations.promises =
            allocator_reallocate(operations.promises, (size_t)operations.capacity * sizeof(JSValue));
        operations.callers =
            allocator_reallocate(operations.callers, (size_t)operations.capacity * sizeof(JSCallers *));
        for (int32_t id = operations.free; id < operations.capacity; id++)
            operations.promises[id] = JS_NewInt32(context, id + 1);
    }
    int32_t id = operations.free;
    operations.free = JS_VALUE_GET_INT(operations.promises[id]);
    operations.promises[id] = promise;
    operations.callers[id] = callers;
    operations.outstanding++;
    return id;
}

static JSValue answered(int32_t id, JSCallers **callers) {
    JSValue promise = operations.promises[id];
    *callers = operations.callers[id];
    operations.promises[id] = JS_NewInt32(context, operations.free);
    operations.free = id;
    operations.outstanding--;
    return promise;
}

/* operation(name, arguments, ArrayBuffer or nothing): the promise of its answer */
static JSValue js_operation(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    Bytes name, text, body = {"", 0, 0};
    if (bytes_of(ctx, arguments[0], &name))
        return JS_EXCEPTION;
    if (bytes_of(ctx, arguments[1], &text)) {
        release(ctx, &name);
        return JS_EXCEPTION;
    }
    if (JS_IsArrayBuffer(arguments[2]) && bytes_of(ctx, arguments[2], &body)) {
        release(ctx, &name);
        release(ctx, &text);
        return JS_EXCEPTION;
    }
    JSValue promise = JS_NewPendingPromise(ctx);
    if (!JS_IsException(promise))
        host_operation(keep(JS_DupValue(ctx, promise), JS_TakeCallers(ctx)), name.start, name.length, text.start,
                       text.length, body.start, body.length);
    release(ctx, &name);
    release(ctx, &text);
    return promise;
}

/* hasOutstanding(): whether the host has yet to answer an operation */
static JSValue js_has_outstanding(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    return JS_NewBool(ctx, operations.outstanding > 0);
}

static void add_to_outcome(const char *bytes, size_t length) { host_outcome_part(bytes, length); }

/* outcome(succeeded, text) */
static JSValue js_outcome(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    /* What is longer than the call's memory can be so only by containing itself; the host would have to hold it all. */
    if (JS_ReadParts(ctx, arguments[1], allocator_limited_to(), add_to_outcome))
        return JS_EXCEPTION;
    host_outcome(JS_ToBool(ctx, arguments[0]), "", 0);
    return JS_UNDEFINED;
}

/* convertDocuments(the function that converts one, documents that were just parsed): the documents as values */
static JSValue js_convert_documents(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    return JS_ConvertDocuments(ctx, arguments[0], arguments[1]);
}

/* xorWords(target, first, begin in it, second, begin in that, count): whether it was done */
static JSValue js_xor_words(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    return JS_XorWords(ctx, arguments);
}

static JSValue js_now(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    return JS_NewFloat64(ctx, host_now());
}

/* random(): a number in [0, 1) */
static JSValue js_random(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    uint64_t bits;
    host_random((char *)&bits, sizeof(bits));
    return JS_NewFloat64(ctx, (double)(bits >> 11) * 0x1p-53);
}

/* randomBytes(length): an ArrayBuffer */
static JSValue js_random_bytes(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    uint32_t length;
    if (JS_ToUint32(ctx, &length, arguments[0]))
        return JS_EXCEPTION;
    char *bytes = allocator_allocate(length);
    host_random(bytes, length);
    JSValue buffer = JS_NewArrayBufferCopy(ctx, (uint8_t *)bytes, length);
    allocator_free(bytes);
    return buffer;
}

/* encodeUtf8(well-formed string): a Uint8Array */
static JSValue js_encode_utf8(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    size_t length;
    const char *text = JS_ToCStringLen(ctx, &length, arguments[0]);
    if (!text)
        return JS_EXCEPTION;
    JSValue array = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text, length);
    JS_FreeCString(ctx, text);
    return array;
}

/* decodeUtf8(ArrayBuffer, offset, length, fatal): a string, or undefined if `fatal` and ill-formed. */
static JSValue js_decode_utf8(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    size_t size;
    uint32_t offset, length;
    const uint8_t *bytes = JS_GetArrayBuffer(ctx, &size, arguments[0]);
    if (JS_ToUint32(ctx, &offset, arguments[1]) || JS_ToUint32(ctx, &length, arguments[2]))
        return JS_EXCEPTION;
    if (!bytes || offset > size || length > size - offset)
        return JS_NewStringLen(ctx, "", 0);
    bytes += offset;
    size_t good = text_well_formed_prefix(bytes, length);
    if (good == length)
        return JS_NewStringLen(ctx, (const char *)bytes, length);
    if (JS_ToBool(ctx, arguments[3]))
        return JS_UNDEFINED;
    char *mended = allocator_allocate((size_t)length * 3 + 1), *to = mended;
    for (size_t at = 0; at < length;) {
        good = text_well_formed_prefix(bytes + at, length - at);
        memcpy(to, bytes + at, good);
        to += good;
        at += good;
        if (at < length) {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            at += text_ill_formed_length(bytes + at, length - at);
        }
    }
    JSValue text = JS_NewStringLen(ctx, mended, to - mended);
    allocator_free(mended);
    return text;
}

/* context(), setContext(value): the asynchronous context, which follows the flow of control through `await`. */
static JSValue js_context(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    return JS_GetAsyncContext(ctx);
}

static JSValue js_set_context(JSContext *ctx, JSValueConst this_value, int count, JSValueConst *arguments) {
    JS_SetAsyncContext(ctx, arguments[0]);
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry host_functions[] = {
    JS_CFUNC_DEF("context", 0, js_context),
    JS_CFUNC_DEF("setContext", 1, js_set_context),
    JS_CFUNC_DEF("frames", 1, js_frames),
    JS_CFUNC_DEF("convertDocuments", 2, js_convert_documents),
    JS_CFUNC_DEF("xorWords", 6, js_xor_words),
    JS_CFUNC_DEF("request", 3, js_request),
    JS_CFUNC_DEF("operation", 3, js_operation),
    JS_CFUNC_DEF("hasOutstanding", 0, js_has_outstanding),
    JS_CFUNC_DEF("outcome", 2, js_outcome),
    JS_CFUNC_DEF("now", 0, js_now),
    JS_CFUNC_DEF("random", 0, js_random),
    JS_CFUNC_DEF("randomBytes", 1, js_random_bytes),
    JS_CFUNC_DEF("encodeUtf8", 1, js_encode_utf8),
    JS_CFUNC_DEF("decodeUtf8", 4, js_decode_utf8),
};
#define HOST_FUNCTION_COUNT (sizeof(host_functions) / sizeof(host_functions[0]))

static int fill_host_module(JSContext *ctx, JSModuleDef *module) {
    return JS_SetModuleExportList(ctx, module, host_functions, HOST_FUNCTION_COUNT);
}

/* ---- Modules ---- */

static int has_prefix(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

/* The path that `specifier` names within the module `base`: relative to it, or as it stands. */
static char *resolve_specifier(JSContext *ctx, const char *base, const char *specifier, void *opaque) {
    if (!importing) {
        JSValue text = JS_NewString(ctx, "{\"message\":\"Dynamic import() is not available in functions: import the "
                                         "module statically\",\"code\":\"NoDynamicImport\"}");
        JSValue error = JS_Call(ctx, platform.syscall_error, JS_UNDEFINED, 1, &text);
        JS_FreeValue(ctx, text);
        JS_Throw(ctx, error);
        return NULL;
    }
    int from_platform = has_prefix(base, PLATFORM_PREFIX) || *base == 0;
    if (has_prefix(specifier, PLATFORM_PREFIX) && !from_platform) {
        JS_ThrowReferenceError(ctx, "could not resolve \"%s\" from \"%s\"", specifier, base);
        return NULL;
    }
    if (*specifier != '.')
        return js_strdup(ctx, specifier);
    const char *slash = strrchr(base, '/');
    size_t folder = slash ? slash - base + 1 : 0;
    char *path = js_malloc(ctx, folder + strlen(specifier) + 1);
    if (!path)
        return NULL;
    memcpy(path, base, folder);
    size_t length = folder;
    for (const char *part = specifier; *part;) {
        size_t part_length = strcspn(part, "/");
        int is_last = part[part_length] == 0;
        if (part_length == 2 && part[0] == '.' && part[1] == '.') {
            if (length == 0) {
                js_free(ctx, path);
                JS_ThrowReferenceError(ctx, "could not resolve \"%s\" from \"%s\"", specifier, base);
                return NULL;
            }
            do
                length--;
            while (length > 0 && path[length - 1] != '/');
        } else if (part_length > 0 && !(part_length == 1 && part[0] == '.')) {
            memcpy(path + length, part, part_length);
            length += part_length;
            if (!is_last)
                path[length++] = '/';
        }
        part += part_length + !is_last;
    }
    path[length] = 0;
    return path;
}

static int fill_nothing(JSContext *ctx, JSModuleDef *module) { return 0; }

static JSModuleDef *load_module(JSContext *ctx, const char *path, void *opaque) {
    if (compiling)
        return JS_NewCModule(ctx, path, fill_nothing);
    int32_t length = host_module(path, strlen(path));
    if (length < 0) {
        JS_ThrowReferenceError(ctx, "could not resolve \"%s\"", path);
        return NULL;
    }
    char *bytecode = allocator_allocate(length);
    host_take(bytecode);
    JSValue module = JS_ReadObject(ctx, (uint8_t *)bytecode, length, JS_READ_OBJ_BYTECODE);
    allocator_free(bytecode);
    if (JS_IsException(module))
        return NULL;
    JSModuleDef *definition = JS_VALUE_GET_PTR(module);
    JS_FreeValue(ctx, module); /* The context keeps its modules. */
    return definition;
}

/* ---- Errors and jobs ---- */

/* A property of an error as text, empty if there is none. */
static JSValue text_of(JSValueConst error, const char *property) {
    JSValue value = JS_GetPropertyStr(context, error, property);
    JSValue text = JS_IsUndefined(value) ? JS_NewString(context, "") : JS_ToString(context, value);
    JS_FreeValue(context, value);
    if (!JS_IsException(text))
        return text;
    JS_FreeValue(context, JS_GetException(context));
    return JS_NewString(context, "");
}

/* JSON text about an error without the platform's help: while there is no platform, or if it failed (it may be out of
   stack, too). */
static JSValue describe_plainly(JSValueConst error) {
    JSValue description = JS_NewObject(context);
    static const char *const properties[] = {"name", "message", "stack"};
    for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
        JS_SetPropertyStr(context, description, properties[i], text_of(error, properties[i]));
    JSValue text = JS_JSONStringify(context, description, JS_UNDEFINED, JS_UNDEFINED);
    JS_FreeValue(context, description);
    return text;
}

/* Hands the pending exception to the host. */
static int fail(void) {
    JSValue error = JS_GetException(context);
    JSValue text = JS_IsFunction(context, platform.describe)
                       ? JS_Call(context, platform.describe, JS_UNDEFINED, 1, &error)
                       : JS_EXCEPTION;
    if (JS_IsException(text)) {
        JS_FreeValue(context, JS_GetException(context));
        text = describe_plainly(error);
    }
    size_t length;
    const char *bytes = JS_ToCStringLen(context, &length, text);
    host_outcome(0, bytes, bytes ? length : 0);
    JS_FreeCString(context, bytes);
    JS_FreeValue(context, text);
    JS_FreeValue(context, error);
    return -1;
}

static void on_rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool is_handled, void *opaque) {
    has_rejection |= !is_handled;
    JSValueConst arguments[] = {promise, reason, JS_NewBool(ctx, is_handled)};
    JS_FreeValue(ctx, JS_Call(ctx, platform.rejection, JS_UNDEFINED, 3, arguments));
}

/* Runs jobs until none is left. An exception that nobody can catch fails the call. */
static int run_jobs(void) {
    JSContext *ctx;
    int status;
    while ((status = JS_ExecutePendingJob(runtime, &ctx)) > 0)
        ;
    if (status < 0)
        return fail();
    if (has_rejection) {
        JSValue is_open = JS_Call(context, platform.unhandled, JS_UNDEFINED, 0, NULL);
        if (JS_IsException(is_open))
            return fail();
        has_rejection = JS_ToBool(context, is_open);
    }
    return 0;
}

/* Calls a function of the platform with texts, which lie one after another in `bytes`, and takes its result. */
static int call_platform(JSValueConst function, int32_t number, char *bytes, const uint32_t *lengths, int count,
                         JSValue *result) {
    JSValue arguments[5] = {JS_NewInt32(context, number)};
    const char *at = bytes;
    for (int i = 0; i < count; i++) {
        arguments[i + 1] = JS_NewStringLen(context, at, lengths[i]);
        at += lengths[i];
    }
    allocator_free(bytes);
    *result = JS_Call(context, function, JS_UNDEFINED, count + 1, (JSValueConst *)arguments);
    for (int i = 0; i < count; i++)
        JS_FreeValue(context, arguments[i + 1]);
    return JS_IsException(*result) ? fail() : 0;
}

/* Imports a module and all it needs, and waits for its evaluation. */
static int import_module(const char *path, JSValue *namespace) {
    importing = 1;
    JSValue promise = JS_LoadModule(context, "", path);
    int status = JS_IsException(promise) ? fail() : run_jobs();
    importing = 0;
    if (status == 0) {
        JSPromiseStateEnum state = JS_PromiseState(context, promise);
        if (state == JS_PROMISE_FULFILLED) {
            *namespace = JS_PromiseResult(context, promise);
        } else if (state == JS_PROMISE_REJECTED) {
            JS_Throw(context, JS_PromiseResult(context, promise));
            status = fail();
        } else {
            JS_ThrowTypeError(context, "a promise that the module awaits at its top level never settles");
            status = fail();
        }
    }
    JS_FreeValue(context, promise);
    return status;
}

/* ---- What the host calls ---- */

/* A block for `length` bytes and a terminating zero. */
char *EXPORT(guest_allocate)(uint32_t length) {
    char *block = allocator_allocate((size_t)length + 1);
    block[length] = 0;
    return block;
}

/* Makes the runtime, without the platform. */
void EXPORT(guest_start)(void) {
    runtime = JS_NewRuntime2(&memory_functions, NULL);
    JS_SetMaxStackSize(runtime, STACK_BYTES_MAX);
    JS_SetModuleLoaderFunc(runtime, resolve_specifier, load_module, NULL);
    context = JS_NewContext(runtime);
    js_map_frames = map_frames;
    js_recognise = recognise;
    JS_WatchBuiltIns(context);
    JSModuleDef *host = JS_NewCModule(context, PLATFORM_PREFIX "host", fill_host_module);
    JS_AddModuleExportList(context, host, host_functions, HOST_FUNCTION_COUNT);
}

/* Loads the platform's main module, whose path is `path`. */
int EXPORT(guest_load_platform)(char *path) {
    JSValue exports;
    platform.describe = platform.rejection = platform.unhandled = platform.syscall_error = JS_UNDEFINED;
    int status = import_module(path, &exports);
    allocator_free(path);
    if (status)
        return status;
    const struct {
        const char *name;
        JSValue *function;
    } needed[] = {
        {"configure", &platform.configure},      {"invoke", &platform.invoke},
        {"rejectionOf", &platform.rejection_of}, {"describe", &platform.describe},
        {"addModule", &platform.add_module},     {"analyze", &platform.analyze},
        {"declaration", &platform.declaration},  {"rejection", &platform.rejection},
        {"unhandled", &platform.unhandled},      {"syscallError", &platform.syscall_error},
    };
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        *needed[i].function = JS_GetPropertyStr(context, exports, needed[i].name);
    JSValue collect = JS_GetPropertyStr(context, exports, "collect");
    JS_WatchPlatform(context, collect);
    JS_FreeValue(context, collect);
    JS_WatchHashing(context, exports);
    JS_FreeValue(context, exports);
    JS_SetHostPromiseRejectionTracker(runtime, on_rejection, NULL);
    return 0;
}

/* Tells the platform about the deployment, before the first import. */
int EXPORT(guest_configure)(char *text, uint32_t length) {
    JSValue result;
    int status = call_platform(platform.configure, 0, text, &length, 1, &result);
    JS_FreeValue(context, result);
    return status;
}

/* Compiles a module to bytecode without source text, which is the outcome. `text` holds the path, a zero, and the
   source. */
int EXPORT(guest_compile)(char *text, uint32_t source_length) {
    const char *source = text + strlen(text) + 1;
    importing = compiling = 1;
    JSValue module =
        JS_Eval(context, source, source_length, text, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    allocator_free(text);
    if (JS_IsException(module))
        return fail();
    size_t length;
    uint8_t *bytecode =
        JS_WriteObject(context, &length, module, JS_WRITE_OBJ_BYTECODE | JS_WRITE_OBJ_STRIP_SOURCE);
    JS_FreeValue(context, module);
    if (!bytecode)
        return fail();
    host_outcome(1, (const char *)bytecode, length);
    js_free(context, bytecode);
    return 0;
}

/* Evaluates a module, unless it was imported already. If `is_entry_point`, calls can name it. */
int EXPORT(guest_import)(char *path, int32_t is_entry_point) {
    JSValue exports;
    int status = import_module(path, &exports);
    if (status == 0 && is_entry_point) {
        JSValue arguments[] = {JS_NewString(context, path), exports};
        JSValue added = JS_Call(context, platform.add_module, JS_UNDEFINED, 2, (JSValueConst *)arguments);
        JS_FreeValue(context, arguments[0]);
        if (JS_IsException(added))
            status = fail();
        JS_FreeValue(context, added);
    }
    if (status == 0)
        JS_FreeValue(context, exports);
    allocator_free(path);
    return status;
}

/* Ends the building of the image. Returns where the fresh region begins. */
uint32_t EXPORT(guest_seal)(uint32_t spare_pages, int32_t converts_natively) {
    JS_ReplaceBase64(context);
    if (converts_natively)
        JS_RecogniseLibrary(context);
    JS_RunGC(runtime);
    JS_Seal(runtime, COLLECT_AFTER_BYTES);
    return allocator_seal(spare_pages);
}

/* Starts a call. `text` holds module, export, arguments and request id, one after another. */
int EXPORT(guest_invoke)(uint32_t heap_bytes_max, int32_t kind, char *text, uint32_t module_length,
                         uint32_t export_length, uint32_t arguments_length, uint32_t request_id_length) {
    const uint32_t lengths[] = {module_length, export_length, arguments_length, request_id_length};
    allocator_limit(heap_bytes_max);
    JSValue result;
    int status = call_platform(platform.invoke, kind, text, lengths, 4, &result);
    JS_FreeValue(context, result);
    return status ? status : run_jobs();
}

/* Answers an operation that is outstanding: with JSON text of its error (kind 0) or of its result (1), or with bytes (2).
   Jobs run with the next `guest_run`. */
int EXPORT(guest_resolve)(int32_t id, int32_t kind, char *block, uint32_t length) {
    JSCallers *callers;
    JSValue promise = answered(id, &callers);
    JSValue answer = kind == 2 ? JS_NewArrayBufferCopy(context, (const uint8_t *)block, length)
                               : JS_NewStringLen(context, block, length);
    allocator_free(block);
    if (kind == 0) {
        JSValue error_text = answer;
        answer = JS_Call(context, platform.rejection_of, JS_UNDEFINED, 1, (JSValueConst *)&error_text);
        JS_FreeValue(context, error_text);
        JS_SetCallers(context, answer, callers);
    }
    JS_FreeCallers(context, callers);
    if (JS_IsException(answer)) {
        JS_FreeValue(context, promise);
        return fail();
    }
    JS_SettlePromise(context, promise, answer, kind == 0);
    JS_FreeValue(context, answer);
    JS_FreeValue(context, promise);
    return 0;
}

int EXPORT(guest_run)(void) { return run_jobs(); }

/* Describes the entry points; the outcome is JSON text. */
int EXPORT(guest_analyze)(void) {
    JSValue result = JS_Call(context, platform.analyze, JS_UNDEFINED, 0, NULL);
    if (JS_IsException(result))
        return fail();
    JS_FreeValue(context, result);
    return run_jobs();
}

/* What a module declares; the outcome is JSON text. */
int EXPORT(guest_declaration)(int32_t kind, char *module, uint32_t length) {
    JSValue result;
    int status = call_platform(platform.declaration, kind, module, &length, 1, &result);
    JS_FreeValue(context, result);
    return status ? status : run_jobs();
}

uint32_t EXPORT(guest_heap_bytes)(void) { return allocator_taken(); }
