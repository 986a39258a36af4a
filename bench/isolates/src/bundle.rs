//! Generates bundles: many modules of some application, and two functions that are called.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use isolate::{ImageSource, ImportLimits, ModuleSource, UnsetVariables};

/// Modules that the functions import are about this large.
const MODULE_BYTES: usize = 64 << 10;

/// The module with the functions that are called.
pub const ENTRY_POINT: &str = "messages.js";

/// A bundle of about `bytes` bytes of source text.
pub fn bundle(bytes: usize) -> ImageSource {
    let mut modules = Vec::new();
    let mut imports = String::new();
    let count = bytes.div_ceil(MODULE_BYTES).max(1);
    for number in 0..count {
        let path = format!("_deps/part{number}.js");
        writeln!(imports, "import {{ table as table{number} }} from \"./{path}\";")
            .expect("strings take text");
        modules.push(ModuleSource { path, source: part(number, bytes / count), is_entry_point: false });
    }
    let tables: Vec<String> = (0..count).map(|number| format!("table{number}")).collect();
    let source = format!("{imports}const tables = [{}];\n{FUNCTIONS}", tables.join(", "));
    modules.push(ModuleSource { path: ENTRY_POINT.into(), source, is_entry_point: true });
    ImageSource {
        modules,
        environment: BTreeMap::new(),
        unset_variables: UnsetVariables::Undefined,
        import_seed: [1; 32],
        import_time_ms: 1_700_000_000_000,
        native_values: true,
        limits: ImportLimits { user_time_ms_max: 120_000, ..ImportLimits::default() },
    }
}

/// A module as bundlers write them: functions, classes and constant data.
fn part(number: usize, bytes: usize) -> String {
    let mut source = String::from("export const table = new Map();\n");
    let mut index = 0;
    while source.len() < bytes {
        write!(
            source,
            "class C{index} {{ #v; constructor(v) {{ this.#v = v; }} get value() {{ return this.#v; }} \
             map(f) {{ return new C{index}(f(this.#v)); }} }}\n\
             function check{index}(input, path = []) {{ const errors = []; for (const [key, value] of \
             Object.entries(input ?? {{}})) {{ if (typeof value !== \"string\") errors.push({{ path: [...path, key], \
             message: \"expected a string in part {number}\" }}); }} return errors.length ? {{ errors }} : {{ value: \
             new C{index}(input) }}; }}\n\
             table.set(\"rule{index}\", {{ check: check{index}, options: {{ minimum: {index}, tags: [\"a{index}\", \
             \"b{number}\"], nested: {{ kind: \"object\", optional: {} }} }} }});\n",
            index % 2 == 0
        )
        .expect("strings take text");
        index += 1;
    }
    source
}

/// `list` reads 20 documents by 3 operations, `send` writes one by 2. They use the database as the library does.
const FUNCTIONS: &str = r#"
const operation = async (name, args) => JSON.parse(await Convex.asyncSyscall(name, JSON.stringify(args)));
const register = (flag, invoker, handler) => {
  const registered = () => {};
  Object.assign(registered, { [flag]: true, isPublic: true, exportArgs: () => '{"type":"any"}', exportReturns: () => "null" });
  registered[invoker] = async (text) => JSON.stringify(await handler({}, ...JSON.parse(text)));
  return registered;
};
export const list = register("isQuery", "invokeQuery", async (ctx, { channel, user }) => {
  const owner = await operation("1.0/get", { id: user });
  const { page, continueCursor } = await operation("1.0/queryPage", { query: { channel }, cursor: null, pageSize: 20 });
  const last = await operation("1.0/get", { id: page.at(-1)._id });
  return { page: page.map((message) => ({ ...message, author: owner.name, mine: message.author === user })), last, continueCursor };
});
export const send = register("isMutation", "invokeMutation", async (ctx, { channel, author, body }) => {
  const user = await operation("1.0/get", { id: author });
  if (user === null) throw new Error("there is no such user");
  return (await operation("1.0/insert", { table: "messages", value: { channel, author, body, rule: tables[0].size } }))._id;
});
"#;
