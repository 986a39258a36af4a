/* Stack traces, included at the end of quickjs.c (build/edits/stacks.rs).

   An error keeps its frames as text, in terms of the bundle. Its own property `stack` is made of them when it is first
   read: the host translates the places, and the first line is the error's name and message at that moment. */

/* Set by the guest: the frames in terms of the files that people wrote. */
JSValue (*js_map_frames)(JSContext *ctx, JSValueConst frames);

/* The private name under which objects other than errors keep their frames. */
static JSAtom js_frames_name(JSContext *ctx)
{
    static JSAtom name;

    if (!name) {
        JSValue symbol = JS_NewSymbolFromAtom(ctx, JS_ATOM_stack, JS_ATOM_TYPE_PRIVATE);
        if (!JS_IsException(symbol))
            name = js_symbol_to_atom(ctx, symbol);
    }
    return name;
}

static bool js_is_lazy_stack(JSShapeProperty *shape_property, JSProperty *property)
{
    return (shape_property->flags & JS_PROP_TMASK) == JS_PROP_AUTOINIT &&
           property->u.init.opaque == js_stack_marker;
}

/* Whether the text of the object's `stack` has not been made yet. */
static bool js_has_lazy_stack(JSObject *p)
{
    JSProperty *property;
    JSShapeProperty *shape_property = find_own_property(&property, p, JS_ATOM_stack);

    return shape_property && js_is_lazy_stack(shape_property, property);
}

/* The frames that an object keeps, or undefined. */
static JSValue js_frames_of(JSContext *ctx, JSObject *p)
{
    JSProperty *property;

    if (p->class_id == JS_CLASS_ERROR)
        return js_dup(p->u.object_data);
    if (find_own_property(&property, p, js_frames_name(ctx)))
        return js_dup(property->u.value);
    return JS_UNDEFINED;
}

/* Gives an object its `stack`, which takes `frames`: a text, or, if `is_final`, what the property shall be. */
static void js_install_stack(JSContext *ctx, JSValueConst obj, JSValue frames, bool is_final)
{
    JSObject *p = JS_VALUE_GET_OBJ(obj);
    JSProperty *property;
    JSShapeProperty *shape_property;

    if (JS_VALUE_GET_TAG(obj) != JS_TAG_OBJECT) {
        JS_FreeValue(ctx, frames);
        return;
    }
    shape_property = find_own_property(&property, p, JS_ATOM_stack);
    if (is_final || p->is_exotic || (shape_property ? (shape_property->flags & JS_PROP_TMASK) == JS_PROP_GETSET ||
                                                          (shape_property->flags & JS_PROP_TMASK) == JS_PROP_VARREF ||
                                                          !(shape_property->flags & JS_PROP_CONFIGURABLE)
                                                    : !p->extensible)) {
        JSValue saved = JS_GetException(ctx);
        if (JS_DefinePropertyValue(ctx, obj, JS_ATOM_stack, frames, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE) < 0)
            JS_FreeValue(ctx, JS_GetException(ctx));
        JS_Throw(ctx, saved);
        return;
    }
    if (!JS_IsUndefined(frames)) {
        if (p->class_id == JS_CLASS_ERROR)
            set_value(ctx, &p->u.object_data, frames);
        else
            JS_DefinePropertyValue(ctx, obj, js_frames_name(ctx), frames, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
        shape_property = find_own_property(&property, p, JS_ATOM_stack);
    }
    if (!shape_property) {
        JS_DefineAutoInitProperty(ctx, obj, JS_ATOM_stack, JS_AUTOINIT_ID_PROP, js_stack_marker,
                                  JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
    } else if (!js_is_lazy_stack(shape_property, property)) {
        if (js_shape_prepare_update(ctx, p, &shape_property))
            return;
        JS_FreeValue(ctx, property->u.value);
        shape_property->flags = JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE | JS_PROP_AUTOINIT;
        property->u.init.realm_and_id = (uintptr_t)JS_DupContext(ctx) | JS_AUTOINIT_ID_PROP;
        property->u.init.opaque = js_stack_marker;
    }
}

/* The text of a `stack`: name and message, and the frames as the host translates them. */
static JSValue js_stack_text(JSContext *ctx, JSObject *p)
{
    static bool is_running;
    JSValue saved = JS_GetException(ctx), frames = js_frames_of(ctx, p), head;

    /* A name that is made by a getter which reads the stack. */
    if (is_running || JS_IsUndefined(frames)) {
        JS_Throw(ctx, saved);
        return frames;
    }
    is_running = true;
    head = js_error_toString(ctx, JS_MKPTR(JS_TAG_OBJECT, p), 0, NULL);
    if (JS_IsException(head)) {
        JS_FreeValue(ctx, JS_GetException(ctx));
        head = JS_NewString(ctx, "<error>");
    }
    if (js_map_frames && !JS_IsEmptyString(frames)) {
        JSValue mapped = js_map_frames(ctx, frames);
        if (JS_IsException(mapped)) {
            JS_FreeValue(ctx, JS_GetException(ctx));
        } else {
            JS_FreeValue(ctx, frames);
            frames = mapped;
        }
    }
    is_running = false;
    JS_Throw(ctx, saved);
    if (JS_IsEmptyString(frames)) {
        JS_FreeValue(ctx, frames);
        return head;
    }
    return JS_ConcatString(ctx, JS_ConcatString3(ctx, "", head, "\n"), frames);
}

static int js_init_stack(JSContext *ctx, JSObject *p, JSAtom prop)
{
    JSValue owner = js_dup(JS_MKPTR(JS_TAG_OBJECT, p)), text = js_stack_text(ctx, p);
    JSProperty *property;
    JSShapeProperty *shape_property;
    int status = 0;

    if (JS_IsException(text)) {
        status = -1;
    } else if ((shape_property = find_own_property(&property, p, prop)) &&
               js_is_lazy_stack(shape_property, property)) {
        status = js_shape_prepare_update(ctx, p, &shape_property);
        if (status == 0) {
            js_autoinit_free(ctx->rt, property);
            shape_property->flags &= ~JS_PROP_TMASK;
            property->u.value = js_dup(text);
        }
    }
    JS_FreeValue(ctx, text);
    JS_FreeValue(ctx, owner);
    return status;
}

/* The frames of a thrown value whose stack nobody has read or set, as they are; else undefined. */
JSValue JS_GetFrames(JSContext *ctx, JSValueConst thrown)
{
    if (!JS_IsObject(thrown) || !js_has_lazy_stack(JS_VALUE_GET_OBJ(thrown)))
        return JS_UNDEFINED;
    return js_frames_of(ctx, JS_VALUE_GET_OBJ(thrown));
}

/* ---- Frames ---- */

/* Writes a line for a frame, unless it is the engine's or the platform's. */
static bool js_write_frame(JSContext *ctx, DynBuf *out, JSValueConst func, const uint8_t *pc, bool is_new,
                           bool is_async)
{
    JSObject *p;
    JSFunctionBytecode *b;
    const char *file, *name;
    int line, column;

    if (!JS_IsObject(func))
        return false;
    p = JS_VALUE_GET_OBJ(func);
    if (!js_class_has_bytecode(p->class_id))
        return false;
    b = p->u.func.function_bytecode;
    if (!pc || !b->filename)
        return false;
    file = JS_AtomToCString(ctx, b->filename);
    if (!file || !strncmp(file, "tidemark:", 9)) {
        JS_FreeCString(ctx, file);
        return false;
    }
    line = find_line_num(ctx, b, pc - b->byte_code_buf - 1, &column);
    name = get_func_name(ctx, func);
    dbuf_putstr(out, out->size ? "\n    at " : "    at ");
    if (is_async)
        dbuf_putstr(out, "async ");
    if (name && *name && *name != '<') {
        if (is_new)
            dbuf_putstr(out, "new ");
        dbuf_putstr(out, name);
        dbuf_printf(out, " (%s:%d:%d)", file, line, column);
    } else {
        dbuf_printf(out, "%s:%d:%d", file, line, column);
    }
    JS_FreeCString(ctx, name);
    JS_FreeCString(ctx, file);
    return true;
}

/* The promise that a resolving function settles, or undefined. */
static JSValueConst js_settled_by(JSValueConst resolve)
{
    JSPromiseFunctionData *data = JS_GetOpaque(resolve, JS_CLASS_PROMISE_RESOLVE_FUNCTION);

    return data ? data->promise : JS_UNDEFINED;
}

/* Writes who waits for a promise, who waits for that, and so on. */
static int js_write_awaiting(JSContext *ctx, DynBuf *out, JSValueConst promise, int count, int limit)
{
    int steps;

    for (steps = 0; count < limit && steps < 100; steps++) {
        JSPromiseData *data = JS_GetOpaque(promise, JS_CLASS_PROMISE);
        JSPromiseReactionData *reaction;
        JSObject *handler;
        JSCFunctionDataRecord *record;

        /* Where several wait there is no one way on. */
        if (!data || data->promise_state != JS_PROMISE_PENDING || list_empty(&data->promise_reactions[0]) ||
            data->promise_reactions[0].next->next != &data->promise_reactions[0])
            break;
        reaction = list_entry(data->promise_reactions[0].next, JSPromiseReactionData, link);
        promise = js_settled_by(reaction->resolving_funcs[0]);
        if (!JS_IsObject(reaction->handler))
            continue;
        handler = JS_VALUE_GET_OBJ(reaction->handler);
        switch (handler->class_id) {
        case JS_CLASS_ASYNC_FUNCTION_RESOLVE: {
            JSAsyncFunctionData *waiting = handler->u.async_function_data;
            JSStackFrame *frame = &waiting->func_state.frame;
            count += js_write_frame(ctx, out, frame->cur_func, frame->cur_pc, false, true);
            promise = waiting->resolving_funcs[0];
            break;
        }
        case JS_CLASS_PROMISE_RESOLVE_FUNCTION: /* An async function returned the promise. */
            promise = js_settled_by(reaction->handler);
            break;
        case JS_CLASS_C_FUNCTION_DATA:
            record = handler->u.c_function_data_record;
            if (record->func == js_promise_all_resolve_element) {
                promise = js_settled_by(record->data[3]);
            } else if (record->func == js_async_generator_resolve_function) {
                JSAsyncGeneratorData *waiting = JS_GetOpaque(record->data[0], JS_CLASS_ASYNC_GENERATOR);
                if (!waiting || list_empty(&waiting->queue))
                    return count;
                count += js_write_frame(ctx, out, waiting->func_state.frame.cur_func,
                                        waiting->func_state.frame.cur_pc, false, true);
                promise = list_entry(waiting->queue.next, JSAsyncGeneratorRequest, link)->promise;
            }
            break;
        }
    }
    return count;
}

/* The promise of the async function whose frame this is, or undefined. */
static JSValueConst js_promise_of_frame(JSStackFrame *frame)
{
    if (!frame->cur_gc_obj || JS_GC_TYPE(frame->cur_gc_obj) != JS_GC_OBJ_TYPE_ASYNC_FUNCTION)
        return JS_UNDEFINED;
    return ((JSAsyncFunctionData *)frame->cur_gc_obj)->resolving_funcs[0];
}

/* Writes who waits for the outermost frame that runs. If it runs on because an operation of the host failed, those are
   known who called it when the operation began, whether they wait or not. */
static void js_write_waiting(JSContext *ctx, DynBuf *out, JSStackFrame *bottom, int count, int limit)
{
    JSValueConst promise = js_promise_of_frame(bottom);

    if (bottom == js_rejected_frame && JS_IsObject(js_rejected_with) &&
        JS_VALUE_GET_OBJ(js_rejected_with)->class_id == JS_CLASS_ERROR) {
        JSProperty *property;
        const char *callers;
        if (find_own_property(&property, JS_VALUE_GET_OBJ(js_rejected_with), js_frames_name(ctx)) &&
            (callers = JS_ToCString(ctx, property->u.value))) {
            const char *at = callers;
            for (; *at && count < limit; count++) {
                const char *end = strchrnul(at, '\n');
                if (out->size)
                    dbuf_putc(out, '\n');
                dbuf_put(out, at, end - at);
                at = end + (*end == '\n');
            }
            JS_FreeCString(ctx, callers);
            return;
        }
    }
    js_write_awaiting(ctx, out, JS_IsUndefined(promise) ? js_settled_by(js_job_settles) : promise, count, limit);
}

/* ---- The stack of an operation ----
   It is taken when the operation begins, since those who called may not wait for it, and written only if it fails. */

#define JS_CALLERS_MAX 12

typedef struct JSCallers {
    JSValue promise; /* of the outermost function */
    int count;
    struct {
        JSValue func;
        const uint8_t *pc;
    } frames[JS_CALLERS_MAX];
} JSCallers;

JSCallers *JS_TakeCallers(JSContext *ctx)
{
    JSStackFrame *frame;
    JSCallers *callers = js_malloc(ctx, sizeof(*callers));

    if (!callers)
        return NULL;
    callers->count = 0;
    callers->promise = JS_UNDEFINED;
    for (frame = ctx->rt->current_stack_frame; frame; frame = frame->prev_frame) {
        if (JS_IsObject(frame->cur_func) && js_class_has_bytecode(JS_VALUE_GET_OBJ(frame->cur_func)->class_id) &&
            callers->count < JS_CALLERS_MAX) {
            callers->frames[callers->count].func = js_dup(frame->cur_func);
            callers->frames[callers->count++].pc = frame->cur_pc;
        }
        if (!frame->prev_frame)
            callers->promise = js_dup(js_promise_of_frame(frame));
    }
    return callers;
}

void JS_FreeCallers(JSContext *ctx, JSCallers *callers)
{
    int i;

    if (!callers)
        return;
    for (i = 0; i < callers->count; i++)
        JS_FreeValue(ctx, callers->frames[i].func);
    JS_FreeValue(ctx, callers->promise);
    js_free(ctx, callers);
}

/* Gives the error of a failed operation the stack that was taken when it began. */
void JS_SetCallers(JSContext *ctx, JSValueConst error, const JSCallers *callers)
{
    DynBuf all;
    size_t first_end = 0;
    int i, count = 0;
    JSValue text;

    if (!callers || !JS_IsObject(error))
        return;
    js_dbuf_init(ctx, &all);
    for (i = 0; i < callers->count; i++) {
        count += js_write_frame(ctx, &all, callers->frames[i].func, callers->frames[i].pc, false, false);
        if (count == 1)
            first_end = all.size;
    }
    js_write_awaiting(ctx, &all, callers->promise, count, JS_CALLERS_MAX);
    if (!dbuf_error(&all)) {
        text = JS_NewStringLen(ctx, (char *)all.buf, all.size);
        if (!JS_IsException(text))
            js_install_stack(ctx, error, text, false);
        /* The first one is the function which waits for the operation; the others have called it. */
        first_end += first_end < all.size;
        text = JS_NewStringLen(ctx, (char *)all.buf + first_end, all.size - first_end);
        if (!JS_IsException(text))
            JS_DefinePropertyValue(ctx, error, js_frames_name(ctx), text, 0);
    }
    dbuf_free(&all);
}
