// What every page is made of.
import {
  Component,
  createContext,
  useCallback,
  useContext,
  useEffect,
  useId,
  useMemo,
  useRef,
  useState,
  type ButtonHTMLAttributes,
  type KeyboardEvent,
  type ReactNode,
  type TextareaHTMLAttributes,
} from "react";
import { Icon, type IconName } from "./icons";
import { messageOf } from "./live";

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  /** Where the keyboard begins in a dialog. */
  "data-first"?: boolean;
  icon?: IconName;
  look?: "plain" | "primary" | "danger" | "quiet";
  isBusy?: boolean;
}

export function Button({ icon, look = "plain", isBusy = false, children, className = "", ...rest }: ButtonProps) {
  return (
    <button type="button" className={`button ${look} ${className}`} aria-busy={isBusy} disabled={rest.disabled || isBusy} {...rest}>
      {isBusy ? <span className="spinner" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** A button without a text; its label is for those who can't see the drawing, and for the pointer. */
export function IconButton({ icon, label, ...rest }: { icon: IconName; label: string } & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button type="button" {...rest} className={`icon-button ${rest.className ?? ""}`} aria-label={label} title={label}>
      <Icon name={icon} />
    </button>
  );
}

export function Page({ title, hint, actions, children, isWide = false }: { title: string; hint?: ReactNode; actions?: ReactNode; children: ReactNode; isWide?: boolean }) {
  useEffect(() => {
    document.title = `${title} · Tidemark`;
  }, [title]);
  return (
    <div className={isWide ? "page wide" : "page"}>
      <header className="page-head">
        <div>
          <h1>{title}</h1>
          {hint && <p className="soft">{hint}</p>}
        </div>
        <div className="actions">{actions}</div>
      </header>
      {children}
    </div>
  );
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <span className="empty-icon">
        <Icon name={icon} size={22} />
      </span>
      <h2>{title}</h2>
      {children && <div className="soft">{children}</div>}
    </div>
  );
}

export function Problem({ message, children }: { message: string; children?: ReactNode }) {
  return (
    <div className="problem" role="alert">
      <Icon name="warning" />
      <div>
        <pre>{message}</pre>
        {children}
      </div>
    </div>
  );
}

/** Grey bars where something is about to be. */
export function Loading({ rows = 6 }: { rows?: number }) {
  return (
    <div className="loading" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, row) => (
        <span key={row} className={`bar bar-${row % 4}`} />
      ))}
    </div>
  );
}

export function Badge({ tone = "neutral", children }: { tone?: string; children: ReactNode }) {
  return <span className={`badge ${tone}`}>{children}</span>;
}

export function SearchField({ value, onChange, label, id }: { value: string; onChange: (value: string) => void; label: string; id?: string }) {
  return (
    <label className="search-field">
      <Icon name="search" />
      <input
        id={id}
        type="search"
        value={value}
        placeholder={label}
        aria-label={label}
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && onChange("")}
        spellCheck={false}
      />
    </label>
  );
}

export function Tabs<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: [T, ReactNode][]; onChange: (value: T) => void }) {
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      const at = options.findIndex(([option]) => option === value);
      const next = options[(at + step + options.length) % options.length]![0];
      onChange(next);
      const buttons = event.currentTarget.querySelectorAll("button");
      buttons[options.findIndex(([option]) => option === next)]?.focus();
    }
  };
  return (
    <div className="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {options.map(([option, text]) => (
        <button key={option} type="button" role="tab" aria-selected={option === value} tabIndex={option === value ? 0 : -1} onClick={() => onChange(option)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** A box over the page. It keeps the keyboard to itself; Escape closes it. */
export function Dialog({ title, look = "box", onClose, children }: { title: string; look?: "box" | "drawer" | "palette"; onClose: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
    // By itself the box would begin at its first button, which closes it.
    dialog.current?.querySelector<HTMLElement>("[data-first], textarea, input")?.focus();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={look}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => event.target === dialog.current && onClose()}
    >
      <div className="dialog-body">
        {look !== "palette" && (
          <header>
            <h2>{title}</h2>
            <IconButton icon="close" label="Close" onClick={onClose} />
          </header>
        )}
        {children}
      </div>
    </dialog>
  );
}

interface Question {
  title: string;
  text: ReactNode;
  /** What the button says that does it. */
  button: string;
  act: () => Promise<void>;
}

/** Asks before something is done that can't be undone: `ask` opens the question, `question` is to be shown. */
export function useQuestion(): { ask: (question: Question) => void; question: ReactNode } {
  const [asked, setAsked] = useState<Question | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const close = () => {
    setAsked(null);
    setProblem(null);
  };
  const act = async () => {
    setBusy(true);
    try {
      await asked?.act();
      close();
    } catch (error) {
      setProblem(messageOf(error));
    } finally {
      setBusy(false);
    }
  };
  const question = asked && (
    <Dialog title={asked.title} onClose={close}>
      <div className="dialog-text">{asked.text}</div>
      {problem && <Problem message={problem} />}
      <footer>
        <Button onClick={close}>Cancel</Button>
        <Button look="danger" isBusy={isBusy} onClick={act} data-first>
          {asked.button}
        </Button>
      </footer>
    </Dialog>
  );
  return { ask: setAsked, question };
}

const ToastContext = createContext<(text: string, tone?: "good" | "bad") => void>(() => {});

/** Says what has happened, for a few seconds. */
export const useToast = () => useContext(ToastContext);

export function Toasts({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<{ id: number; text: string; tone: string }[]>([]);
  const next = useRef(0);
  const show = useCallback((text: string, tone = "good") => {
    const id = next.current++;
    setToasts((toasts) => [...toasts, { id, text, tone }]);
    setTimeout(() => setToasts((toasts) => toasts.filter((toast) => toast.id !== id)), 4_000);
  }, []);
  return (
    <ToastContext value={show}>
      {children}
      <div className="toasts" role="status">
        {toasts.map(({ id, text, tone }) => (
          <p key={id} className={`toast ${tone}`}>
            <Icon name={tone === "bad" ? "warning" : "check"} />
            {text}
          </p>
        ))}
      </div>
    </ToastContext>
  );
}

/** Where a page fails, the others go on. */
export class Fence extends Component<{ children: ReactNode; name: string }, { error: unknown; name: string }> {
  override state = { error: null as unknown, name: this.props.name };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  static getDerivedStateFromProps({ name }: { name: string }, state: { error: unknown; name: string }) {
    return name === state.name ? null : { error: null, name };
  }

  override render() {
    if (this.state.error === null) {
      return this.props.children;
    }
    return (
      <div className="page">
        <Problem message={messageOf(this.state.error)}>
          <Button onClick={() => this.setState({ error: null })}>Try again</Button>
        </Problem>
      </div>
    );
  }
}

/** A place for a value as text. Ctrl-Enter does what `onSubmit` says, and Tab leaves it, as everywhere. */
export function CodeField({
  label,
  value,
  onChange,
  onSubmit,
  problem,
  ...rest
}: { label: string; value: string; onChange: (value: string) => void; onSubmit?: () => void; problem?: string | null } & Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, "onChange" | "onSubmit">) {
  const id = useId();
  return (
    <div className="code-field">
      <textarea
        {...rest}
        value={value}
        aria-label={label}
        aria-invalid={Boolean(problem)}
        aria-describedby={problem ? id : undefined}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            onSubmit?.();
          }
          rest.onKeyDown?.(event);
        }}
      />
      {problem && (
        <p id={id} className="field-problem">
          {problem}
        </p>
      )}
    </div>
  );
}

export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  const toast = useToast();
  return (
    <IconButton
      icon="copy"
      label={label}
      onClick={async (event) => {
        event.stopPropagation();
        await navigator.clipboard.writeText(text);
        toast("Copied");
      }}
    />
  );
}

/** The time now, again and again. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });

export const dateOf = (ms: number) => DATE.format(ms);
export const clockOf = (ms: number) => `${CLOCK.format(ms)}.${String(Math.floor(ms) % 1_000).padStart(3, "0")}`;

/** `5 min. ago`, `in 2 hr.`. */
export function relative(ms: number, now: number): string {
  const seconds = (ms - now) / 1_000;
  const [unit, size] = ([["day", 86_400], ["hour", 3_600], ["minute", 60]] as const).find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return AGO.format(Math.round(seconds / size), unit);
}

export function Time({ ms, now }: { ms: number; now: number }) {
  return (
    <time dateTime={new Date(ms).toISOString()} title={dateOf(ms)}>
      {relative(ms, now)}
    </time>
  );
}

export function durationOf(ms: number): string {
  if (ms >= 1_000) {
    return `${(ms / 1_000).toFixed(ms >= 10_000 ? 0 : 1)} s`;
  }
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

export function bytesOf(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  const amount = bytes / 1_024 ** power;
  return `${power === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${units[power]}`;
}

export const countOf = (count: number) => count.toLocaleString("en");

/** What is to be filtered by a text: all of its words must be there. */
export function useMatcher(text: string): (candidate: string) => boolean {
  return useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return (candidate) => {
      const lower = candidate.toLowerCase();
      return words.every((word) => lower.includes(word));
    };
  }, [text]);
}
