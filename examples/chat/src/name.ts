import { useEffect, useState } from "react";

const GUESTS = ["Heron", "Otter", "Plover", "Seal", "Tern", "Whelk", "Curlew", "Limpet"];
const KEY = "tidemark-chat-name";

/** The name that this browser writes under, kept across visits. */
export function useName() {
  const [name, setName] = useState(
    () => localStorage.getItem(KEY) ?? GUESTS[Math.floor(Math.random() * GUESTS.length)],
  );
  useEffect(() => localStorage.setItem(KEY, name), [name]);
  return [name, setName] as const;
}

/** A hue of its own for each name, the same in every browser. */
export function hueOf(name: string) {
  let hash = 0;
  for (const character of name) {
    hash = (hash * 137 + character.codePointAt(0)! * 59) % 360;
  }
  return hash;
}
