//! Checks the linked module, and separates its code from its initial data.

use wasmparser::{DataKind, Operator, Parser, Payload};

/// A module without data segments, and what they held.
pub struct Separated {
    pub code: Vec<u8>,
    /// Address and bytes of each segment, in order.
    pub data: Vec<(u32, Vec<u8>)>,
}

/// Takes the data segments out of a module. The memory of an instance comes from an image, over which instantiating
/// must not write; only the first memory of all is filled from the segments.
///
/// Resetting a slot restores its memory and its stack pointer, so this also refuses a module that keeps state
/// anywhere else: in another mutable global, in a table, or in which segments were dropped.
pub fn separate(module: &[u8]) -> Result<Separated, String> {
    let context = |error: wasmparser::BinaryReaderError| format!("the linked module: {error}");
    let mut code = module[..8].to_vec();
    let mut data = Vec::new();
    let mut mutable_globals = 0;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(context)?;
        match &payload {
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    mutable_globals += usize::from(global.map_err(context)?.ty.mutable);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import.map_err(context)?;
                    if !matches!(import.ty, wasmparser::TypeRef::Func(_)) {
                        return Err(format!(
                            "the linked module imports {}, which is no function",
                            import.name
                        ));
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().map_err(context)? {
                    check_operator(&operator.map_err(context)?)?;
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment.map_err(context)?;
                    data.push((address_of(&segment.kind)?, segment.data.to_vec()));
                }
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section()
            && keeps_section(id)
        {
            code.push(id);
            write_leb128(&mut code, range.len());
            code.extend_from_slice(&module[range]);
        }
    }
    if mutable_globals != 1 {
        return Err(format!(
            "the linked module has {mutable_globals} mutable globals, not just the stack pointer"
        ));
    }
    Ok(Separated { code, data })
}

/// All but data, the count of data segments, and custom sections (names, which the traps don't show).
fn keeps_section(id: u8) -> bool {
    const CUSTOM: u8 = 0;
    const DATA: u8 = 11;
    const DATA_COUNT: u8 = 12;
    !matches!(id, CUSTOM | DATA | DATA_COUNT)
}

fn check_operator(operator: &Operator<'_>) -> Result<(), String> {
    match operator {
        Operator::TableSet { .. }
        | Operator::TableInit { .. }
        | Operator::TableCopy { .. }
        | Operator::TableGrow { .. }
        | Operator::TableFill { .. }
        | Operator::ElemDrop { .. }
        | Operator::DataDrop { .. }
        | Operator::MemoryInit { .. } => {
            Err(format!("the linked module contains {operator:?}: state that a reset would miss"))
        }
        _ => Ok(()),
    }
}

fn address_of(kind: &DataKind<'_>) -> Result<u32, String> {
    if let DataKind::Active { memory_index: 0, offset_expr } = kind
        && let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read()
    {
        return Ok(value as u32);
    }
    Err("the linked module has a data segment without a fixed address".into())
}

fn write_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
