//! Files: documents of `_storage`, and the objects that hold their bytes.
//!
//! ```text
//!   note_object      object arriving
//!   keep_file        object kept        + file
//!   delete_file      object discarded   - file
//!   discard_late     object discarded (it was arriving for too long)
//!   forget_object    -
//! ```
//!
//! Every step reads the object's row and writes it, so of two steps only one commits.

use contract::{DeploymentRef, Interval, ObjectName};
use rand::Rng as _;
use value::{ComponentId, DocumentId, Value, key};

use crate::{
    Error, FileObjectRow, FileRow, FileState, Result, Stored, SystemTable, Transaction, UploadGrant,
    system_rows::stored_row,
};

/// A file with its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The document.
    pub file: Stored<FileRow>,
    /// Of the object.
    pub object: DocumentId,
    /// By which the file's URL names it.
    pub uuid: String,
}

impl Stored<FileObjectRow> {
    /// The object that the row is about.
    pub fn object_name(&self, deployment: DeploymentRef) -> ObjectName {
        object_name(deployment, self.row.component, self.id)
    }
}

/// The object that a row of a component is about.
pub fn object_name(deployment: DeploymentRef, component: ComponentId, row: DocumentId) -> ObjectName {
    ObjectName {
        deployment,
        component: component.internal_id().map(|id| *id.as_bytes()),
        id: *row.internal_id.as_bytes(),
    }
}

impl Transaction {
    /// The token of an upload URL for the running function's component. `now_ms` is what the function sees as the time.
    pub fn upload_token(&self, now_ms: u64) -> String {
        let grant = UploadGrant { component: self.component(), issued_ms: now_ms };
        self.cursor_key.upload_token(self.deployment(), grant)
    }

    /// The component whose files the holder of a token may upload. Fails with `StorageTokenInvalid`, and with
    /// `StorageTokenExpired` if it is older than `age_ms_max`.
    pub fn granted_component(&self, token: &str, age_ms_max: u64) -> Result<ComponentId> {
        let grant = self.cursor_key.open_upload_token(self.deployment(), token).ok_or_else(|| {
            let message = "the token of the upload URL is not one of this deployment";
            unauthenticated("StorageTokenInvalid", message.to_owned())
        })?;
        if self.now_ms().saturating_sub(grant.issued_ms) > age_ms_max {
            let message =
                format!("the upload URL was made more than {} s ago: generate a new one", age_ms_max / 1_000);
            return Err(unauthenticated("StorageTokenExpired", message));
        }
        Ok(grant.component)
    }

    /// Notes an object that is about to be stored; its id comes back.
    pub async fn note_object(&mut self, component: ComponentId) -> Result<DocumentId> {
        let uuid = self.new_uuid();
        let (state, since_ms) = (FileState::Arriving, self.now_ms());
        self.insert_row(&FileObjectRow { component, uuid, state, since_ms }).await
    }

    /// By which a URL can name a file.
    pub(crate) fn new_uuid(&mut self) -> String {
        let mut random = [0; 16];
        self.random().fill_bytes(&mut random);
        uuid::Builder::from_random_bytes(random).into_uuid().hyphenated().to_string()
    }

    /// Makes a file of an object that has arrived; the id of its document comes back. Fails with `UploadTooSlow` if the object
    /// was given up.
    pub async fn keep_file(&mut self, object: DocumentId, file: &FileRow) -> Result<DocumentId> {
        match self.row::<FileObjectRow>(object).await? {
            Some(mut row) if row.state == FileState::Arriving => {
                assert_eq!(row.component, file.component, "a file and its object are of one component");
                let id = self.insert_row(file).await?;
                row.state = FileState::Kept { file: id.internal_id };
                row.since_ms = self.now_ms();
                self.replace_row(object, &row).await?;
                Ok(id)
            }
            _ => Err(Error::user("UploadTooSlow", "the upload took longer than uploads may take")),
        }
    }

    /// The file of the running function's component that a function names: by the id of its document, or by its UUID as older
    /// versions did. `None` if there is none.
    pub async fn file(&mut self, name: &str) -> Result<Option<File>> {
        let component = self.component();
        if let Ok(uuid) = uuid::Uuid::try_parse(name) {
            return self.file_by_uuid(component, &uuid.hyphenated().to_string()).await;
        }
        let id: DocumentId = name.parse().map_err(|_| {
            let shown: String = name.chars().take(64).collect();
            Error::user("InvalidArgument", format!("{shown:?} is not the id of a file"))
        })?;
        if id.table != SystemTable::FileStorage.number() {
            return Err(Error::user("InvalidTable", format!("the id {id} is not of the table `_storage`")));
        }
        let file = [Value::from(id.internal_id.to_string())];
        let Some(object) = self.rows::<FileObjectRow>("by_file", &file).await?.pop() else { return Ok(None) };
        self.file_of(object, component).await
    }

    /// The file of a component that a URL names.
    pub async fn file_by_uuid(&mut self, component: ComponentId, uuid: &str) -> Result<Option<File>> {
        let key = [Value::from(component.to_string()), Value::from(uuid)];
        match self.rows::<FileObjectRow>("by_component_and_uuid", &key).await?.pop() {
            Some(object) => self.file_of(object, component).await,
            None => Ok(None),
        }
    }

    async fn file_of(
        &mut self,
        object: Stored<FileObjectRow>,
        component: ComponentId,
    ) -> Result<Option<File>> {
        let FileState::Kept { file } = object.row.state else { return Ok(None) };
        if object.row.component != component {
            return Ok(None);
        }
        let id = DocumentId::new(SystemTable::FileStorage.number(), file);
        let document = self.system_document(SystemTable::FileStorage, id).await?;
        let document =
            document.ok_or_else(|| Error::stored(format!("the object {} has no file", object.id)))?;
        Ok(Some(File { file: stored_row(&document)?, object: object.id, uuid: object.row.uuid }))
    }

    /// Deletes a file that must be there (`StorageIdNotFound`).
    pub async fn delete_file(&mut self, name: &str) -> Result<()> {
        let Some(File { file, object, uuid }) = self.file(name).await? else {
            let shown: String = name.chars().take(64).collect();
            return Err(Error::user("StorageIdNotFound", format!("there is no file with the id {shown}")));
        };
        self.delete_row::<FileRow>(file.id).await?;
        let (component, since_ms) = (file.row.component, self.now_ms());
        let row = FileObjectRow { component, uuid, state: FileState::Discarded, since_ms };
        self.replace_row(object, &row).await
    }

    /// Discards objects that have been arriving for longer than `age_ms`, `rows_max` at most; how many.
    pub async fn discard_late(&mut self, age_ms: u64, rows_max: usize) -> Result<usize> {
        let late = self.objects_older_than(FileState::ARRIVING, age_ms, rows_max).await?;
        for Stored { id, row } in &late {
            self.replace_row(*id, &FileObjectRow { state: FileState::Discarded, ..row.clone() }).await?;
        }
        Ok(late.len())
    }

    /// Objects that have been discarded for longer than `age_ms`, the oldest first, `rows_max` at most.
    pub async fn discarded(&mut self, age_ms: u64, rows_max: usize) -> Result<Vec<Stored<FileObjectRow>>> {
        self.objects_older_than(FileState::DISCARDED, age_ms, rows_max).await
    }

    /// Forgets an object that holds no file's bytes; nothing if it is forgotten already. One that holds a file's stays.
    pub async fn forget_object(&mut self, object: DocumentId) -> Result<()> {
        match self.row::<FileObjectRow>(object).await? {
            Some(FileObjectRow { state: FileState::Arriving | FileState::Discarded, .. }) => {
                self.delete_row::<FileObjectRow>(object).await
            }
            _ => Ok(()),
        }
    }

    async fn objects_older_than(
        &mut self,
        state: &str,
        age_ms: u64,
        rows_max: usize,
    ) -> Result<Vec<Stored<FileObjectRow>>> {
        let before_ms = self.now_ms().saturating_sub(age_ms) as f64;
        let state = Value::from(state);
        let interval = Interval {
            start: key::encode(&[Some(&state)]).into(),
            end: Some(key::encode(&[Some(&state), Some(&Value::Float64(before_ms))]).into()),
        };
        self.rows_in("by_state_and_since", interval, rows_max).await
    }
}

/// What the caller's credentials are to blame for.
fn unauthenticated(code: &'static str, message: String) -> Error {
    Error::Service(contract::Error::new(contract::ErrorKind::Unauthenticated, code, message))
}
