/** The mark and the name. */
export function Brand() {
  return (
    <span className="brand">
      <svg viewBox="0 0 32 32" width="30" height="30" aria-hidden="true">
        <circle cx="16" cy="11" r="5.5" fill="var(--sun)" />
        <path d="M3 19q6.5-7 13 0t13 0M3 26q6.5-7 13 0t13 0" fill="none" stroke="var(--foam)" strokeWidth="3" strokeLinecap="round" />
      </svg>
      Tidemark studio
    </span>
  );
}
