// The tokens are in cookies that this script cannot read: all it knows is what the server answers.
"use strict";

const $ = (id) => document.getElementById(id);
const tabs = new BroadcastChannel("login");
let refreshing = null; // one refresh at a time in this tab; another tab's may cross it
let asked = 0; // which answer is still wanted

const post = (path, body) => fetch(path, { method: "POST", body });

function refresh() {
  refreshing ??= post("/auth/refresh").finally(() => { refreshing = null; });
  return refreshing;
}

// What the server says; asked again after a silent refresh where the access token has expired.
async function api(path, options) {
  let answer = await fetch(path, options);
  if (answer.status === 401) {
    const refreshed = await refresh();
    answer = refreshed.ok ? await fetch(path, options) : refreshed;
  }
  if (answer.status === 401) {
    showLogin();
    return null;
  }
  return (await checked(answer)).json();
}

// Anything but a refused login is no reason to forget who is signed in.
async function checked(answer) {
  if (!answer.ok) throw new Error(`The server could not do that (${answer.status}). Try again.`);
  return answer;
}

async function load() {
  const mine = ++asked;
  const account = await api("/api/notes");
  if (account && mine === asked) showNotes(account);
  return account;
}

function showLogin() {
  if (!$("login").hidden) return;
  const wasIn = !$("notes").hidden;
  clear();
  $("login").hidden = false;
  if (wasIn) say("You are signed out.");
}

function showNotes({ name, notes }) {
  if ($("who").textContent !== name) clear();
  $("who").textContent = name;
  $("list").replaceChildren(...notes.map(item).reverse());
  $("none").hidden = notes.length > 0;
  $("login").hidden = true;
  $("notes").hidden = $("logout").hidden = false;
}

// Nothing of a person stays in the page.
function clear() {
  asked++;
  for (const id of ["login", "notes", "logout"]) $(id).hidden = true;
  for (const id of ["login", "write"]) $(id).reset();
  $("who").textContent = "";
  $("list").replaceChildren();
  say("");
}

function item(text) {
  const li = document.createElement("li");
  li.textContent = text; // never as HTML
  return li;
}

function say(text) {
  $("message").textContent = text;
}

async function tried(act) {
  try {
    await act();
  } catch (error) {
    say(error instanceof TypeError ? "The server cannot be reached. Try again." : error.message);
  }
}

function onSubmit(id, act) {
  $(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.target.querySelector("button");
    button.disabled = true;
    say("");
    await tried(() => act(new URLSearchParams(new FormData(event.target))));
    button.disabled = false;
  });
}

onSubmit("login", async (fields) => {
  const answer = await post("/auth/login", fields);
  if (answer.status === 401) throw new Error("Wrong name or password.");
  await checked(answer);
  if (!(await load())) throw new Error("Your browser did not keep the cookies: they need https.");
  tabs.postMessage("in");
});

onSubmit("write", async (fields) => {
  if (!(await api("/api/notes", { method: "POST", body: fields }))) return;
  $("write").reset();
  await load();
});

onSubmit("logout", async () => {
  await checked(await post("/auth/logout"));
  tabs.postMessage("out");
  showLogin();
});

tabs.onmessage = ({ data }) => (data === "out" ? showLogin() : tried(load));
// The browser may keep a page for its back button: it keeps it empty, and asks again.
addEventListener("pagehide", clear);
addEventListener("pageshow", () => tried(load));
