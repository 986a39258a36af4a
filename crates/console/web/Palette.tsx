// Goes to a page, a table or a function by its name.
import { useMemo, useState, type KeyboardEvent } from "react";
import { PAGES } from "./App";
import { Icon, type IconName } from "./icons";
import { useComponent } from "./live";
import { useFunctions, useTableNames } from "./catalog";
import { hrefOf, navigate } from "./route";
import { Dialog, useMatcher } from "./ui";

const SHOWN = 12;

interface Place {
  name: string;
  kind: string;
  icon: IconName;
  href: string;
}

export function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const component = useComponent();
  const tables = useTableNames();
  const functions = useFunctions();
  const places = useMemo<Place[]>(() => {
    const pages = PAGES.map(({ id, name, icon }) => ({ name, kind: "Page", icon, href: hrefOf(id, [], { component }) }));
    const names = tables.state === "ready" ? tables.value : [];
    const ofTables = names.map((name) => ({ name, kind: "Table", icon: "data" as const, href: hrefOf("data", [name], { component }) }));
    const known = functions.state === "ready" ? functions.value : [];
    const ofFunctions = known.map(({ name, kind }) => ({ name, kind, icon: "functions" as const, href: hrefOf("functions", [name], { component }) }));
    return [...pages, ...ofTables, ...ofFunctions];
  }, [component, tables, functions]);
  const matches = useMatcher(text);
  const found = places.filter(({ name, kind }) => matches(`${name} ${kind}`)).slice(0, SHOWN);
  const at = Math.min(chosen, Math.max(0, found.length - 1));

  const go = (place: Place | undefined) => {
    if (place) {
      navigate(place.href);
      onClose();
    }
  };
  const pressed = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length > 0) {
      event.preventDefault();
      setChosen((at + step + found.length) % found.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      go(found[at]);
    }
  };
  return (
    <Dialog title="Go to" look="palette" onClose={onClose}>
      <label className="palette-input">
        <Icon name="search" size={18} />
        <input
          autoFocus
          role="combobox"
          aria-label="Go to"
          aria-expanded="true"
          aria-controls="places"
          aria-activedescendant={found[at] && `place-${at}`}
          placeholder="A page, a table, a function…"
          value={text}
          spellCheck={false}
          onChange={(event) => {
            setText(event.target.value);
            setChosen(0);
          }}
          onKeyDown={pressed}
        />
      </label>
      <ul id="places" role="listbox" aria-label="Places">
        {found.map((place, index) => (
          <li key={place.href} id={`place-${index}`} role="option" aria-selected={index === at} onMouseMove={() => setChosen(index)} onClick={() => go(place)}>
            <Icon name={place.icon} />
            <span className="name">{place.name}</span>
            <span className="soft">{place.kind}</span>
          </li>
        ))}
        {found.length === 0 && <li className="soft none">Nothing is called so.</li>}
      </ul>
    </Dialog>
  );
}
