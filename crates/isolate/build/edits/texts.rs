//! The texts of errors as V8 has them: libraries match them, and people know them.

use super::Edit;

#[rustfmt::skip]
pub const EDITS: &[Edit] = &[
    // ---- Texts that name an expression or a value (guest/texts.h) ----
    Edit {
        file: "quickjs.c",
        find: r#"static int JS_ThrowTypeErrorReadOnly(JSContext *ctx, int flags, JSAtom atom)
{
"#,
        replace: r#"static JSValue js_throw_not_callable(JSContext *ctx, JSValueConst value, bool as_constructor);
static JSValue js_throw_not_iterable(JSContext *ctx, JSValueConst value, bool as_async);
static JSValue js_throw_destructure(JSContext *ctx, JSValueConst value);
static JSValue js_throw_access(JSContext *ctx, JSValueConst object, JSAtom name, bool is_write);
static JSValue js_throw_of_value(JSContext *ctx, const char *format, JSValueConst value);
static JSValue js_throw_of_value_in_range(JSContext *ctx, const char *format, JSValueConst value);
static JSValue js_throw_on_nothing(JSContext *ctx, const char *type);
static void js_throw_in(JSContext *ctx, JSValueConst name, JSValueConst value);
static int js_throw_of_property(JSContext *ctx, int flags, const char *format, JSAtom name, JSValueConst object,
                                bool is_quoted);
static int JS_ThrowTypeErrorReadOnly(JSContext *ctx, int flags, JSAtom atom)
{
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        JS_ThrowTypeErrorAtom(ctx, "'%s' is read-only", atom);
"#,
        replace: r#"        if (atom == JS_ATOM_length)
            JS_ThrowTypeError(ctx, "Cannot assign to read only property 'length' of object '[object Array]'");
        else
            JS_ThrowTypeError(ctx, "Assignment to constant variable.");
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            return JS_ThrowTypeErrorNotAFunction(caller_ctx);
"#,
        replace: r#"            return js_throw_not_callable(caller_ctx, func_obj, false);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    JSObject *p;
    JSAtom name;

    if (JS_TAG_OBJECT != JS_VALUE_GET_TAG(func_obj))
        goto fini;
    p = JS_VALUE_GET_OBJ(func_obj);
    if (!js_class_has_bytecode(p->class_id))
        goto fini;
    name = p->u.func.function_bytecode->func_name;
    if (name == JS_ATOM_NULL)
        goto fini;
    return JS_ThrowTypeErrorAtom(ctx, "%s is not a constructor", name);
fini:
    return JS_ThrowTypeError(ctx, "not a constructor");
"#,
        replace: r#"    return js_throw_not_callable(ctx, func_obj, true);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            return JS_ThrowTypeErrorNotAFunction(ctx);
        }
        return call_func(ctx, func_obj, new_target, argc,
"#,
        replace: r#"            return js_throw_not_callable(ctx, func_obj, true);
        }
        return call_func(ctx, func_obj, new_target, argc,
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    if (likely(JS_IsFunction(ctx, obj)))
        return 0;
    JS_ThrowTypeErrorNotAFunction(ctx);
"#,
        replace: r#"    if (likely(JS_IsFunction(ctx, obj)))
        return 0;
    js_throw_not_callable(ctx, obj, false);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            return JS_ThrowTypeErrorAtom(ctx, "cannot read property '%s' of null", prop);
        case JS_TAG_UNDEFINED:
            return JS_ThrowTypeErrorAtom(ctx, "cannot read property '%s' of undefined", prop);
"#,
        replace: r#"        case JS_TAG_UNDEFINED:
            return js_throw_access(ctx, obj, prop, false);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        if (tag == JS_TAG_NULL) {
            JS_ThrowTypeErrorAtom(ctx, "cannot read property '%s' of null", atom);
        } else {
            JS_ThrowTypeErrorAtom(ctx, "cannot read property '%s' of undefined", atom);
        }
"#,
        replace: r#"        js_throw_access(ctx, this_obj, atom, false);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        JS_ThrowTypeErrorAtom(ctx, "cannot set property '%s' of null", prop);
        goto fail;
    case JS_TAG_UNDEFINED:
        JS_ThrowTypeErrorAtom(ctx, "cannot set property '%s' of undefined", prop);
        goto fail;
"#,
        replace: r#"    case JS_TAG_UNDEFINED:
        js_throw_access(ctx, this_obj, prop, true);
        goto fail;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    } else {
        method = JS_GetProperty(ctx, obj, JS_ATOM_Symbol_iterator);
        if (JS_IsException(method))
            return method;
    }
    if (!JS_IsFunction(ctx, method)) {
        JS_FreeValue(ctx, method);
        return JS_ThrowTypeError(ctx, "value is not iterable");
"#,
        replace: r#"    } else {
        if (JS_IsUndefined(obj) || JS_IsNull(obj))
            return js_throw_not_iterable(ctx, obj, false);
        method = JS_GetProperty(ctx, obj, JS_ATOM_Symbol_iterator);
        if (JS_IsException(method))
            return method;
    }
    if (!JS_IsFunction(ctx, method)) {
        JS_FreeValue(ctx, method);
        return js_throw_not_iterable(ctx, obj, is_async);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            if (JS_IsException(method))
                return method;
            sync_iter = JS_GetIterator2(ctx, obj, method);
"#,
        replace: r#"            if (JS_IsException(method))
                return method;
            if (!JS_IsFunction(ctx, method)) {
                JS_FreeValue(ctx, method);
                return js_throw_not_iterable(ctx, obj, true);
            }
            sync_iter = JS_GetIterator2(ctx, obj, method);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            JS_ThrowTypeError(ctx, "value is not iterable");
            goto exception;
"#,
        replace: r#"            js_throw_not_iterable(ctx, items, false);
            goto exception;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"                sf->cur_pc = pc;
                ret_val = JS_ToObject(ctx, sp[-1]);
                if (JS_IsException(ret_val))
                    goto exception;
                JS_FreeValue(ctx, sp[-1]);
                sp[-1] = ret_val;
"#,
        replace: r#"                sf->cur_pc = pc;
                ret_val = JS_IsUndefined(sp[-1]) || JS_IsNull(sp[-1]) ? js_throw_destructure(ctx, sp[-1])
                                                                      : JS_ToObject(ctx, sp[-1]);
                if (JS_IsException(ret_val))
                    goto exception;
                JS_FreeValue(ctx, sp[-1]);
                sp[-1] = ret_val;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    return JS_ThrowReferenceError(ctx, "%s is not initialized",
                                  name == JS_ATOM_NULL ? "lexical variable" :
                                  JS_AtomGetStr(ctx, buf, sizeof(buf), name));
"#,
        replace: r#"    if (name == JS_ATOM_this)
        return JS_ThrowReferenceError(ctx, "Must call super constructor in derived class before accessing 'this' or "
                                           "returning from derived constructor");
    return JS_ThrowReferenceError(ctx, "Cannot access '%s' before initialization",
                                  name == JS_ATOM_NULL ? "lexical variable" :
                                  JS_AtomGetStr(ctx, buf, sizeof(buf), name));
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            ret = JS_ThrowTypeErrorReadOnly(ctx, flags, prop);
            goto done;
"#,
        replace: r#"            ret = js_throw_of_property(ctx, flags, "Cannot assign to read only property '%s' of %s", prop, this_obj, true);
            goto done;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        ret = JS_ThrowTypeErrorOrFalse(ctx, flags, "not an object");
        goto done;
"#,
        replace: r#"        ret = js_throw_of_property(ctx, flags, "Cannot create property '%s' on %s", prop, this_obj, true);
        goto done;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            ret = JS_ThrowTypeErrorOrFalse(ctx, flags, "object is not extensible");
            goto done;
"#,
        replace: r#"            ret = js_throw_of_property(ctx, flags, "Cannot add property %s, object is not extensible", prop, this_obj, false);
            goto done;
"#,
        times: 2,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    not_extensible:
        return JS_ThrowTypeErrorOrFalse(ctx, flags, "object is not extensible");
"#,
        replace: r#"    not_extensible:
        return js_throw_of_property(ctx, flags, "Cannot define property %s, object is not extensible", prop, JS_MKPTR(JS_TAG_OBJECT, p), false);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        JS_ThrowTypeError(ctx, "could not delete property");
        return -1;
"#,
        replace: r#"        return js_throw_of_property(ctx, JS_PROP_THROW, "Cannot delete property '%s' of %s", prop, obj, false);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"static int call_setter(JSContext *ctx, JSObject *setter,
                       JSValueConst this_obj, JSValue val, int flags)
"#,
        replace: r#"static int call_setter_of(JSContext *ctx, JSObject *setter, JSAtom prop,
                          JSValueConst this_obj, JSValue val, int flags)
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            JS_ThrowTypeError(ctx, "no setter for property");
            return -1;
"#,
        replace: r#"            return js_throw_of_property(ctx, JS_PROP_THROW, "Cannot set property %s of %s which has only a getter", prop,
                                        this_obj, false);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "return call_setter(ctx, pr->u.getset.setter, this_obj, val, flags);",
        replace: "return call_setter_of(ctx, pr->u.getset.setter, prop, this_obj, val, flags);",
        times: 2,
    },
    Edit {
        file: "quickjs.c",
        find: "ret = call_setter(ctx, setter, this_obj, val, flags);",
        replace: "ret = call_setter_of(ctx, setter, prop, this_obj, val, flags);",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        JS_ThrowTypeErrorPrivateNotFound(ctx, prop);
        return JS_EXCEPTION;
"#,
        replace: r#"        return JS_ThrowTypeErrorAtom(ctx, "Cannot read private member %s from an object whose class did not declare it", prop);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        JS_ThrowTypeErrorPrivateNotFound(ctx, prop);
    fail:
"#,
        replace: r#"        JS_ThrowTypeErrorAtom(ctx, "Cannot write private member %s to an object whose class did not declare it", prop);
    fail:
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        JS_ThrowTypeError(ctx, "invalid 'in' operand");
        return -1;
    }
    atom ="#,
        replace: r#"        js_throw_in(ctx, op1, op2);
        return -1;
    }
    atom ="#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"                JS_ThrowTypeError(ctx, "parent class must be constructor");
"#,
        replace: r#"                js_throw_of_value(ctx, "Class extends value %s is not a constructor or null", parent_class);
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"                JS_ThrowTypeError(ctx, "class constructors must be invoked with 'new'");
"#,
        replace: r#"                js_throw_of_value(ctx, "Class constructor %s cannot be invoked without 'new'", sf->cur_func);
"#,
        times: 1,
    },
    // ---- Texts that stand for themselves ----
    Edit {
        file: "quickjs.c",
        find: r#"        JS_ThrowTypeError(ctx, "invalid 'instanceof' right operand");
"#,
        replace: r#"        JS_ThrowTypeError(ctx, "Right-hand side of 'instanceof' is not callable");
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#""cannot convert BigInt to number""#,
        replace: r#""Cannot convert a BigInt value to a number""#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#""cannot convert symbol to number""#,
        replace: r#""Cannot convert a Symbol value to a number""#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#""cannot convert symbol to string""#,
        replace: r#""Cannot convert a Symbol value to a string""#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#""bigint argument with unary +""#,
        replace: r#""Cannot convert a BigInt value to a number""#,
        times: 2,
    },
    Edit {
        file: "quickjs.c",
        find: r#""BigInt division by zero""#,
        replace: r#""Division by zero""#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#""BigInt are forbidden in JSON.stringify""#,
        replace: r#""Do not know how to serialize a BigInt""#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#""invalid string length""#,
        replace: r#""Invalid string length""#,
        times: 6,
    },
    Edit {
        file: "quickjs.c",
        find: r#""invalid array length""#,
        replace: r#""Invalid array length""#,
        times: 4,
    },
    Edit {
        file: "quickjs.c",
        find: r#""Date value is NaN""#,
        replace: r#""Invalid time value""#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#""not a Date object""#,
        replace: r#""this is not a Date object.""#,
        times: 2,
    },
    Edit {
        file: "quickjs.c",
        find: r#""bad normalization form""#,
        replace: r#""The normalization form should be one of NFC, NFD, NFKC, NFKD.""#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"JS_ThrowTypeError(ctx, "toPrimitive")"#,
        replace: r#"JS_ThrowTypeError(ctx, "Cannot convert object to primitive value")"#,
        times: 2,
    },
    Edit {
        file: "quickjs.c",
        find: r#"JS_ThrowTypeError(ctx, "empty array")"#,
        replace: r#"JS_ThrowTypeError(ctx, "Reduce of empty array with no initial value")"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            JS_ThrowTypeError(ctx, "circular reference");
            goto exception;
"#,
        replace: r#"            JS_ThrowTypeError(ctx, "Converting circular structure to JSON");
            goto exception;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        JS_ThrowRangeError(ctx, "invalid repeat count");
"#,
        replace: r#"        if (val < 0 || val == INT64_MAX)
            js_throw_of_value_in_range(ctx, "Invalid count value: %s", argv[0]);
        else
            JS_ThrowRangeError(ctx, "Invalid string length");
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        return JS_ThrowRangeError(ctx, "invalid number of digits");
    if (fabs(d) >= 1e21)
"#,
        replace: r#"        return JS_ThrowRangeError(ctx, "toFixed() digits argument must be between 0 and 100");
    if (fabs(d) >= 1e21)
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            return JS_ThrowRangeError(ctx, "invalid number of digits");
        f++;
"#,
        replace: r#"            return JS_ThrowRangeError(ctx, "toExponential() argument must be between 0 and 100");
        f++;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    if (p < 1 || p > 100)
        return JS_ThrowRangeError(ctx, "invalid number of digits");
"#,
        replace: r#"    if (p < 1 || p > 100)
        return JS_ThrowRangeError(ctx, "toPrecision() argument must be between 1 and 100");
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"return JS_ThrowTypeError(ctx, "cannot convert to object");"#,
        replace: r#"return js_throw_on_nothing(ctx, "String");"#,
        times: 3,
    },
    // ---- Dates ----
    //
    // V8 reads `t` and `z` as `T` and `Z`, milliseconds behind a dot alone, and offsets of an ISO date as +01:00 or +0100.
    Edit {
        file: "quickjs.c",
        find: r#"    if (sgn != 'Z') {
        return false;
    }
    *pp = p;
"#,
        replace: r#"    if (sgn != 'Z' && sgn != 'z') {
        return false;
    }
    *pp = p;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    if (string_skip_char(sp, &p, 'T')) {
        *is_local = true;
"#,
        replace: r#"    if (string_skip_char(sp, &p, 'T') || string_skip_char(sp, &p, 't')) {
        *is_local = true;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    if (c == '.' || c == ',') {
        p++;
        p_start = p;
"#,
        replace: r#"    if (c == '.') {
        p++;
        p_start = p;
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"    if (sp[p]) {
        *is_local = false;
        if (!string_get_tzoffset(sp, &p, &fields[8], true))
"#,
        replace: r#"    if (*is_local && (sp[p] == '+' || sp[p] == '-') && strlen((const char *)sp + p) == 3) {
        fields[3] = 100; /* reject */
        return true;
    }
    if (sp[p]) {
        *is_local = false;
        if (!string_get_tzoffset(sp, &p, &fields[8], true))
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"            c = (c == 0x2212) ? '-' : 'x';
"#,
        replace: r#"            c = 'x';
"#,
        times: 1,
    },
    // ---- Dates ----
    //
    // With the name of the time zone, which is UTC in every isolate.
    Edit {
        file: "quickjs.c",
        find: "    char buf[64];\n    double fields[9];\n    int res, fmt, part, pos;\n",
        replace: "    char buf[96];\n    double fields[9];\n    int res, fmt, part, pos;\n",
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: "            /* XXX: tack the time zone code? */\n",
        replace: "            pos += snprintf(buf + pos, sizeof(buf) - pos, \" (Coordinated Universal Time)\");\n",
        times: 1,
    },
    // ---- Atomics ----
    //
    // The engine leaves them out where there are no threads. Here is one, which must not wait: `Atomics.wait` throws.
    Edit {
        file: "quickjs.c",
        find: r#"#if !defined(__TINYC__) && !defined(EMSCRIPTEN) && !defined(__wasi__) && !__STDC_NO_ATOMICS__ && !defined(__DJGPP)
#include "quickjs-c-atomics.h"
#define CONFIG_ATOMICS
#endif
"#,
        replace: r#"#include "quickjs-c-atomics.h"
#define CONFIG_ATOMICS
typedef int js_cond_t, js_mutex_t, js_once_t;
#define JS_ONCE_INIT 0
#define js_once(once, run) run()
#define js_mutex_init(mutex) ((void)(mutex))
#define js_mutex_lock(mutex) ((void)(mutex))
#define js_mutex_unlock(mutex) ((void)(mutex))
#define js_cond_init(cond) ((void)(cond))
#define js_cond_destroy(cond) ((void)(cond))
#define js_cond_signal(cond) ((void)(cond))
#define js_cond_wait(cond, mutex) ((void)(cond))
#define js_cond_timedwait(cond, mutex, timeout) (-1)
"#,
        times: 1,
    },
    Edit {
        file: "quickjs.c",
        find: r#"        return JS_ThrowTypeError(ctx, "cannot block in this thread");
"#,
        replace: r#"        return JS_ThrowTypeError(ctx, "Atomics.wait cannot be called in this context");
"#,
        times: 1,
    },
];
