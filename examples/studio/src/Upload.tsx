import { useMutation } from "convex/react";
import { type DragEvent, useState } from "react";
import { api } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { messageOf } from "./errors";

/** Takes files by a click, by the keyboard or dropped, and uploads them one after the other. */
export function Upload() {
  const uploadAddress = useMutation(api.pictures.uploadAddress);
  const add = useMutation(api.pictures.add);
  const [current, setCurrent] = useState<string | null>(null);
  const [isOver, setOver] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  async function upload(files: File[]) {
    setProblem(null);
    for (const file of files) {
      setCurrent(file.name);
      try {
        const response = await fetch(await uploadAddress(), { method: "POST", headers: { "content-type": file.type }, body: file });
        if (!response.ok) {
          throw new Error(`the upload was answered ${response.status}`);
        }
        const { storageId } = (await response.json()) as { storageId: Id<"_storage"> };
        await add({ title: titleOf(file.name), file: storageId });
      } catch (error) {
        setProblem(messageOf(error, `${file.name} could not be uploaded. Please try again.`));
      }
    }
    setCurrent(null);
  }

  function drop(event: DragEvent) {
    event.preventDefault();
    setOver(false);
    void upload([...event.dataTransfer.files]);
  }

  return (
    <div>
      <label
        className={isOver ? "drop over" : "drop"}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <input
          type="file"
          accept="image/*"
          multiple
          disabled={current !== null}
          onChange={(event) => {
            void upload([...(event.target.files ?? [])]);
            event.target.value = "";
          }}
        />
        <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
          <path d="M12 16V4m-5 5 5-5 5 5M4 16v4h16v-4" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" strokeLinejoin="round" />
        </svg>
        <span>{current ? `Uploading ${current}…` : "Hang up pictures"}</span>
      </label>
      {problem && (
        <p className="problem" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}

/** `low-tide_2.png` is “Low tide 2”. */
function titleOf(fileName: string) {
  const words = fileName.replace(/\.[^.]+$/, "").replace(/[-_]+/g, " ").trim();
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}
