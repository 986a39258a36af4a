// The variables that functions read, and what the deployment says of itself.
import { useState, type FormEvent } from "react";
import { messageOf, useLive } from "../live";
import { request, useSession } from "../session";
import { Button, CodeField, CopyButton, Dialog, Empty, IconButton, Loading, Page, Problem, SearchField, countOf, useMatcher, useQuestion, useToast } from "../ui";

interface Variable {
  name: string;
  value: string;
}

type Change = { name: string; value: string | null };

/** `NAME=value` a line, as files have it; quotes around a value are not part of it. */
export function readVariables(text: string): Variable[] {
  const variables: Variable[] = [];
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.trim().startsWith("#")) {
      continue;
    }
    const found = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line);
    if (!found) {
      throw new Error(`Line ${at + 1} is not NAME=value.`);
    }
    variables.push({ name: found[1]!, value: found[2]!.replace(/^(["'])(.*)\1$/, "$2") });
  }
  return variables;
}

export function Environment() {
  const variables = useLive<Variable[]>("_system/cli/queryEnvironmentVariables:default", {});
  const { key } = useSession();
  const [text, setText] = useState("");
  const [editing, setEditing] = useState<Variable | "new" | "several" | null>(null);
  const [revealed, setRevealed] = useState<ReadonlySet<string>>(new Set());
  const matches = useMatcher(text);
  const toast = useToast();
  const { ask, question } = useQuestion();
  const update = async (changes: Change[]) => {
    await request(key, "/api/update_environment_variables", { json: { changes } });
  };
  const all = variables.state === "ready" ? variables.value : [];
  const found = all.filter(({ name }) => matches(name));
  const reveal = (name: string) => {
    const next = new Set(revealed);
    if (!next.delete(name)) {
      next.add(name);
    }
    setRevealed(next);
  };
  const remove = (name: string) =>
    ask({
      title: `Delete ${name}?`,
      text: <p>Functions read it as undefined from then on.</p>,
      button: "Delete",
      act: async () => {
        await update([{ name, value: null }]);
        toast(`Deleted ${name}`);
      },
    });
  return (
    <Page
      title="Environment"
      hint="What functions read as process.env. A change holds at once, and live queries that read it run again."
      actions={
        <>
          <Button look="quiet" onClick={() => setEditing("several")}>
            Paste several
          </Button>
          <Button icon="plus" look="primary" onClick={() => setEditing("new")}>
            Add variable
          </Button>
        </>
      }
    >
      {variables.state === "loading" && <Loading />}
      {variables.state === "error" && <Problem message={variables.message} />}
      {variables.state === "ready" && all.length === 0 && <Empty icon="environment" title="There are no variables yet" />}
      {all.length > 0 && (
        <>
          <div className="filters">
            <SearchField label="Find a variable" value={text} onChange={setText} />
            <span className="soft">{countOf(found.length)} {found.length === 1 ? "variable" : "variables"}</span>
          </div>
          <div className="table-box">
            <table className="list" aria-label="Variables">
              <thead>
                <tr>
                  <th>Name</th>
                  <th>Value</th>
                  <th aria-label="Actions" />
                </tr>
              </thead>
              <tbody>
                {found.map((variable) => (
                  <tr key={variable.name}>
                    <td className="nowrap">
                      <code>{variable.name}</code>
                    </td>
                    <td className="cut value-cell">
                      {revealed.has(variable.name) ? <code>{variable.value || " "}</code> : <span className="masked" aria-label="hidden">••••••••••</span>}
                    </td>
                    <td className="actions-cell">
                      <IconButton icon="eye" label={`${revealed.has(variable.name) ? "Hide" : "Show"} ${variable.name}`} aria-pressed={revealed.has(variable.name)} onClick={() => reveal(variable.name)} />
                      <CopyButton text={variable.value} label={`Copy ${variable.name}`} />
                      <IconButton icon="edit" label={`Edit ${variable.name}`} onClick={() => setEditing(variable)} />
                      <IconButton icon="trash" label={`Delete ${variable.name}`} onClick={() => remove(variable.name)} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
      <About />
      {editing === "several" && <PasteVariables update={update} onClose={() => setEditing(null)} />}
      {editing !== null && editing !== "several" && (
        <EditVariable before={editing === "new" ? null : editing} names={all.map(({ name }) => name)} update={update} onClose={() => setEditing(null)} />
      )}
      {question}
    </Page>
  );
}

function About() {
  const { name, version } = useSession();
  const cloud = useLive<string | null>("_system/cli/convexUrl:cloudUrl", {});
  const site = useLive<Variable | null>("_system/cli/queryEnvironmentVariables:get", { name: "CONVEX_SITE_URL" });
  const library = useLive<string | null>("_system/frontend/getVersion:default", {});
  const facts: [string, string | null][] = [
    ["Deployment", name],
    ["Server", version],
    ["Address", cloud.state === "ready" ? cloud.value : null],
    ["HTTP actions", site.state === "ready" ? (site.value?.value ?? null) : null],
    ["Pushed with", library.state === "ready" && library.value !== null ? `convex ${library.value}` : null],
  ];
  return (
    <section className="panel about">
      <h2>About the deployment</h2>
      <dl className="facts">
        {facts.map(([fact, value]) => (
          <div key={fact}>
            <dt>{fact}</dt>
            <dd>{value === null ? <span className="soft">–</span> : <code>{value}</code>}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function EditVariable({ before, names, update, onClose }: { before: Variable | null; names: string[]; update: (changes: Change[]) => Promise<void>; onClose: () => void }) {
  const [name, setName] = useState(before?.name ?? "");
  const [value, setValue] = useState(before?.value ?? "");
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const toast = useToast();
  const isTaken = name !== before?.name && names.includes(name);
  const save = async (event?: FormEvent) => {
    event?.preventDefault();
    if (name === "" || isTaken) {
      return;
    }
    setBusy(true);
    try {
      const renamed: Change[] = before && before.name !== name ? [{ name: before.name, value: null }] : [];
      await update([...renamed, { name, value }]);
      toast(`Saved ${name}`);
      onClose();
    } catch (error) {
      setProblem(messageOf(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={before ? `Edit ${before.name}` : "Add a variable"} onClose={onClose}>
      <form onSubmit={save}>
        <label>
          <span className="label">Name</span>
          <input className="mono" value={name} onChange={(event) => setName(event.target.value)} autoFocus={!before} spellCheck={false} autoComplete="off" />
        </label>
        {isTaken && <p className="field-problem">There is a variable of this name.</p>}
        <div>
          <span className="label">Value</span>
          <CodeField label="Value" rows={3} value={value} onChange={setValue} onSubmit={save} autoFocus={before !== null} />
        </div>
        {problem && <Problem message={problem} />}
        <footer>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" isBusy={isBusy} disabled={name === "" || isTaken}>
            Save
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

function PasteVariables({ update, onClose }: { update: (changes: Change[]) => Promise<void>; onClose: () => void }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const toast = useToast();
  const save = async () => {
    setBusy(true);
    try {
      const variables = readVariables(text);
      await update(variables);
      toast(`Saved ${countOf(variables.length)} variables`);
      onClose();
    } catch (error) {
      setProblem(messageOf(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title="Paste several variables" onClose={onClose}>
      <p className="soft">One line each: NAME=value. Those that are there already get the new value; all are set, or none.</p>
      <CodeField label="Variables" rows={8} value={text} onChange={setText} onSubmit={save} autoFocus placeholder={"API_KEY=…\nREGION=eu"} problem={problem} />
      <footer>
        <Button onClick={onClose}>Cancel</Button>
        <Button look="primary" isBusy={isBusy} disabled={text.trim() === ""} onClick={save}>
          Save
        </Button>
      </footer>
    </Dialog>
  );
}
