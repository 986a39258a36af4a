// What is stored as files.
import { useRef, useState, type DragEvent } from "react";
import { usePaginatedQuery } from "convex/react";
import { makeFunctionReference, type PaginationOptions, type PaginationResult } from "convex/server";
import { Icon } from "../icons";
import { messageOf, useChange, useComponent } from "../live";
import { base } from "../session";
import { Button, CopyButton, Empty, IconButton, Loading, Page, Time, bytesOf, countOf, useNow, useQuestion, useToast } from "../ui";

interface StoredFile {
  _id: string;
  _creationTime: number;
  sha256: string;
  size: number;
  contentType?: string;
  url: string;
}

const FILES = makeFunctionReference<"query", { paginationOpts: PaginationOptions; componentId: string | null }, PaginationResult<StoredFile>>(
  "_system/frontend/fileStorageV2:fileMetadata",
);
const PAGE_ITEMS = 50;

/** The same file at the address that the page came from: others may not be reached from here. */
function here(url: string): string {
  return base + url.slice(url.indexOf("/api/storage/"));
}

export function Files() {
  const componentId = useComponent();
  const { results, status, loadMore } = usePaginatedQuery(FILES, { componentId }, { initialNumItems: PAGE_ITEMS });
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [uploads, setUploads] = useState(0);
  const [isOver, setOver] = useState(false);
  const picker = useRef<HTMLInputElement>(null);
  const change = useChange();
  const toast = useToast();
  const now = useNow(10_000);
  const { ask, question } = useQuestion();

  const upload = async (files: FileList | null) => {
    for (const file of files ?? []) {
      setUploads((count) => count + 1);
      try {
        const address = await change<string>("_system/frontend/fileStorageV2:generateUploadUrl", {});
        const response = await fetch(here(address), { method: "POST", body: file, headers: file.type ? { "Content-Type": file.type } : {} });
        if (!response.ok) {
          throw new Error((await response.json()).message);
        }
        toast(`Uploaded ${file.name}`);
      } catch (error) {
        toast(`${file.name}: ${messageOf(error)}`, "bad");
      } finally {
        setUploads((count) => count - 1);
      }
    }
  };
  const remove = (ids: string[]) =>
    ask({
      title: ids.length === 1 ? "Delete the file?" : `Delete ${countOf(ids.length)} files?`,
      text: <p>Documents that name {ids.length === 1 ? "it" : "them"} stay as they are, and find nothing. This can't be undone.</p>,
      button: "Delete",
      act: async () => {
        await change("_system/frontend/fileStorageV2:deleteFiles", { storageIds: ids });
        setSelected(new Set());
        toast(ids.length === 1 ? "Deleted the file" : `Deleted ${countOf(ids.length)} files`);
      },
    });
  const dropped = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void upload(event.dataTransfer.files);
  };
  const isAll = results.length > 0 && results.every(({ _id }) => selected.has(_id));
  return (
    <div className={isOver ? "drop over" : "drop"} onDragOver={(event) => (event.preventDefault(), setOver(true))} onDragLeave={() => setOver(false)} onDrop={dropped}>
      <Page
        title="Files"
        isWide
        hint={results.length === 0 ? " " : `${countOf(results.length)}${status === "Exhausted" ? "" : "+"} ${results.length === 1 ? "file" : "files"}, the newest first`}
        actions={
          <>
            {selected.size > 0 && (
              <Button icon="trash" look="danger" onClick={() => remove([...selected])}>
                Delete {countOf(selected.size)}
              </Button>
            )}
            <input ref={picker} type="file" multiple hidden aria-label="Files to upload" onChange={(event) => (void upload(event.target.files), (event.target.value = ""))} />
            <Button icon="upload" look="primary" isBusy={uploads > 0} onClick={() => picker.current?.click()}>
              Upload
            </Button>
          </>
        }
      >
        {status === "LoadingFirstPage" && <Loading />}
        {status === "Exhausted" && results.length === 0 && (
          <Empty icon="files" title="There are no files yet">
            Drop some here, or have the app upload them to the addresses of <code>ctx.storage.generateUploadUrl</code>.
          </Empty>
        )}
        {results.length > 0 && (
          <div className="table-box">
            <table className="list" aria-label="Files">
              <thead>
                <tr>
                  <th className="check">
                    <input
                      type="checkbox"
                      aria-label="Select all that are shown"
                      checked={isAll}
                      onChange={() => setSelected(isAll ? new Set() : new Set(results.map(({ _id }) => _id)))}
                    />
                  </th>
                  <th aria-label="Picture" />
                  <th>Id</th>
                  <th>Type</th>
                  <th className="number">Size</th>
                  <th>Uploaded</th>
                  <th aria-label="Actions" />
                </tr>
              </thead>
              <tbody>
                {results.map((file) => (
                  <tr key={file._id} aria-selected={selected.has(file._id)}>
                    <td className="check">
                      <input
                        type="checkbox"
                        aria-label={`Select ${file._id}`}
                        checked={selected.has(file._id)}
                        onChange={() => {
                          const next = new Set(selected);
                          if (!next.delete(file._id)) {
                            next.add(file._id);
                          }
                          setSelected(next);
                        }}
                      />
                    </td>
                    <td className="thumbnail">{file.contentType?.startsWith("image/") ? <img src={here(file.url)} alt="" loading="lazy" /> : <Icon name="files" size={18} />}</td>
                    <td>
                      <code>{file._id}</code> <CopyButton text={file._id} label="Copy the id" />
                    </td>
                    <td>{file.contentType ?? <span className="soft">unknown</span>}</td>
                    <td className="number">{bytesOf(file.size)}</td>
                    <td className="nowrap">
                      <Time ms={file._creationTime} now={Math.max(now, file._creationTime)} />
                    </td>
                    <td className="actions-cell">
                      <a className="icon-button" href={here(file.url)} target="_blank" rel="noreferrer" aria-label={`Open ${file._id}`} title="Open">
                        <Icon name="open" />
                      </a>
                      <IconButton icon="trash" label={`Delete ${file._id}`} onClick={() => remove([file._id])} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        {status === "CanLoadMore" && (
          <p className="grid-foot">
            <Button look="quiet" onClick={() => loadMore(PAGE_ITEMS)}>
              Load more
            </Button>
          </p>
        )}
        {question}
      </Page>
    </div>
  );
}
