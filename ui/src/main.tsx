import { render } from "preact";
import { App } from "./app";
import { listen as listenToKeys } from "./keys";
import { listen as listenToAddress } from "./router";
import { start as startNotes } from "./notes";
import { start as startStudy } from "./study";
import { start as startTheme } from "./theme";
import "./style/app.css";

startTheme();
listenToAddress();
listenToKeys();
startStudy();
startNotes();
render(<App />, document.getElementById("app")!);
