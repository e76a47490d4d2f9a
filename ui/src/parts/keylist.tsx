// The keys that work right now. `?` shows them.
import { active } from "../keys";

export function KeyTable() {
  return (
    <table class="small keys">
      <caption class="hidden">Keys</caption>
      <tbody>{active().map((k) => <tr key={k.key}><th scope="row"><kbd>{k.key}</kbd></th><td>{k.does}</td></tr>)}</tbody>
    </table>
  );
}

export function KeyList() {
  return (
    <dialog class="keys" aria-labelledby="keys-title" onClick={(e) => e.target === e.currentTarget && e.currentTarget.close()}>
      <h2 id="keys-title">Keys</h2>
      <KeyTable />
      <p><button type="button" onClick={(e) => e.currentTarget.closest("dialog")?.close()}>Close</button></p>
    </dialog>
  );
}
