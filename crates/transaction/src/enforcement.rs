//! Holding writes to the schema.

use std::{cell::RefCell, sync::Arc};

use schema::{TableLookup, ValidationFailure};
use value::{ComponentId, DocumentId, Object, TableName, TableNumber};

use crate::{
    Catalog, Error, Result, StoredSchema, Table, Transaction,
    fact::{Fact, Facts},
    system_tables::{SchemaFailure, SchemaState},
};

/// The tables of a catalog; which of them were asked for is a fact that the check relies on.
struct CatalogTables<'c> {
    component: ComponentId,
    catalog: &'c Catalog,
    facts: RefCell<&'c mut Facts>,
}

impl TableLookup for CatalogTables<'_> {
    fn number_of(&self, table: &TableName) -> Option<TableNumber> {
        self.facts.borrow_mut().rely_on(Fact::TableName(self.component, table.clone()));
        self.catalog.table(table.as_str()).map(|table| table.number)
    }

    fn name_of(&self, number: TableNumber) -> Option<TableName> {
        self.catalog.table_by_number(number).map(|table| table.name.clone())
    }
}

impl Transaction {
    /// Checks a document that is about to be written. One that violates the active schema is refused
    /// (`SchemaEnforcementError`); one that violates only the schema of a running push makes that schema fail.
    pub(crate) async fn enforce_schemas(
        &mut self,
        table: &Table,
        id: DocumentId,
        document: &Object,
    ) -> Result<()> {
        let catalog = Arc::clone(self.catalog.of(table.component));
        if let Some(active) = catalog.active_schema()
            && let Err(failure) = self.check_schema(&catalog, active, table, document)?
        {
            let message = format!(
                "the document with the id {id} in the table `{}` does not match the schema: {failure}",
                table.name
            );
            return Err(Error::user("SchemaEnforcementError", message));
        }
        if let Some(coming) = catalog.coming_schema()
            && let Err(failure) = self.check_schema(&catalog, coming, table, document)?
        {
            let mut row = coming.row.clone();
            row.state = SchemaState::Failed;
            row.error = Some(SchemaFailure {
                message: format!(
                    "Document with ID \"{id}\" in table \"{}\" does not match the schema: {failure}",
                    table.name
                ),
                table: Some(table.name.to_string()),
            });
            // Writing a row of a system table asks for no schema, so this does not come back here.
            Box::pin(self.replace_row(coming.id, &row)).await?;
        }
        Ok(())
    }

    fn check_schema(
        &mut self,
        catalog: &Catalog,
        schema: &StoredSchema,
        table: &Table,
        document: &Object,
    ) -> Result<Result<(), ValidationFailure>> {
        let schema = schema.schema()?;
        if !schema.schema_validation {
            return Ok(Ok(()));
        }
        let Some(table_schema) = schema.tables.get(&table.name) else { return Ok(Ok(())) };
        let tables =
            CatalogTables { component: table.component, catalog, facts: RefCell::new(&mut self.facts) };
        Ok(table_schema.check_document(document, &tables))
    }
}
