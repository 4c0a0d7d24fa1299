"use strict";
// Everything from outside goes into the page as text, never as HTML.

const $ = id => document.getElementById(id);
const view = { list: "", status: "", search: "", offset: 0, kind: "", open: new Set(), shown: "" };
// A phone shows one row in the place of two.
const pageSize = matchMedia("(max-width: 480px)").matches ? 8 : 15;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter(child => child != null));
  return node;
}

function text(id, value) {
  const node = $(id);
  if (node.textContent !== String(value)) node.textContent = value;
}

function say(message, isBad = false) {
  const node = $("said");
  node.textContent = message;
  node.classList.toggle("bad", isBad);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { node.textContent = ""; }, isBad ? 8000 : 3000);
}

async function door(method, path, body) {
  const options = { method, headers: { "Content-Type": "application/json" } };
  if (body !== undefined) options.body = JSON.stringify(body);
  const answer = await fetch("/sandbox/" + path, options);
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.detail || `${method} ${path} was answered ${answer.status}`);
  return json;
}

/// Does something and shows what came of it; whatever fails is said.
async function attempt(work, done) {
  try {
    await work();
    if (done) say(done);
  } catch (error) {
    say(error.message, true);
  }
  await refresh();
}

/// Makes the children of a list those of the items, touching only what changed, so that the focus and the reader stay.
function sync(parent, items, key, build, marks = true) {
  const wanted = new Set(items.map(item => String(key(item))));
  const isFirst = parent.dataset.filled !== view.shown;
  parent.dataset.filled = view.shown;
  const focused = document.activeElement;
  const nodes = new Map();
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) nodes.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const node = nodes.get(name) || el(parent.tagName === "UL" ? "li" : "span", { "data-key": name });
    const content = JSON.stringify([item, view.open.has(name)]);
    if (node.content !== content) {
      const former = node.content;
      node.content = content;
      const held = node.contains(focused) ? focused.dataset.act : null;
      node.replaceChildren(...build(item));
      if (held) node.querySelector(`[data-act="${CSS.escape(held)}"]`)?.focus();
      const isOnlyOpened = former && JSON.stringify(JSON.parse(former)[0]) === JSON.stringify(item);
      if (marks && !isFirst && !isOnlyOpened) freshen(node);
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  if (focused !== document.activeElement && focused.isConnected && parent.contains(focused)) focused.focus();
}

function freshen(node) {
  node.classList.add("fresh");
  setTimeout(() => node.classList.remove("fresh"), 900);
}

function when(iso, now) {
  if (!iso) return "";
  return iso.slice(0, 10) === now.slice(0, 10) ? iso.slice(11, 19) : `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}

function press(group, name, value) {
  for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset[name] === value));
}

function badge(kind, label = kind) { return el("span", { class: `badge ${kind}` }, label); }

function showFigures(state) {
  text("now", state.clock.now.slice(0, 19).replace("T", " ") + " UTC");
  $("now").title = state.clock.advanced ? `put forward by ${state.clock.advanced} s` : "real time";
  text("calls-total", state.calls.total.toLocaleString("en"));
  text("calls-refused", `${state.calls.failed.toLocaleString("en")} of them failed or were refused`);
  const now = Math.max(0, ...Object.values(state.in_flight));
  const most = Math.max(0, ...Object.values(state.most_in_flight));
  const count = Math.min(40, Math.max(state.connections, most));
  const slots = $("slots");
  while (slots.children.length > count) slots.lastChild.remove();
  while (slots.children.length < count) slots.append(el("span", { class: "slot" }));
  [...slots.children].forEach((slot, index) => {
    slot.classList.toggle("now", index < now);
    slot.classList.toggle("once", index < most);
    slot.classList.toggle("over", index >= state.connections);
  });
  slots.setAttribute("aria-label", `${now} calls of one user in flight`);
  text("most", `the most of one user: ${most} of ${state.connections}`);
  text("hooks-delivered", state.webhooks.delivered.toLocaleString("en"));
  text("hooks-waiting", `${state.webhooks.pending} on their way, ${state.webhooks.given_up} given up`);
  const consent = state.consent;
  text("against", consent.against_known_no);
  text("against-refused", `${consent.refused} refused, ${consent.no_in_between} crossed with a no`);
  $("consent").classList.toggle("bad", consent.against_known_no > 0);
}

function showLists(state) {
  if (!state.lists.some(list => list.id === view.list)) view.list = state.lists[0]?.id || "";
  const list = state.lists.find(one => one.id === view.list);
  chooser($("lists"), state.lists.map(one => [one.id, one.name]), view.list, id => choose({ list: id }));
  const counts = list ? list.members : {};
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const statuses = [["", `all ${all.toLocaleString("en")}`]];
  for (const [name, count] of Object.entries(counts)) {
    if (count > 0 || name === view.status) statuses.push([name, `${name} ${count.toLocaleString("en")}`]);
  }
  chooser($("statuses"), statuses, view.status, status => choose({ status }));
}

/// Buttons of which one is pressed.
function chooser(parent, choices, chosen, act) {
  sync(parent, choices, one => one[0], ([value, label]) => [
    el("button", { type: "button", "data-act": "choose", onclick: () => act(value) }, label)], false);
  for (const item of parent.children) {
    item.firstElementChild.setAttribute("aria-pressed", String(item.dataset.key === chosen));
  }
}

function choose(change) {
  Object.assign(view, { offset: 0 }, change);
  return refresh();
}

async function showMembers(state) {
  if (!view.list) return;
  const query = new URLSearchParams({ order: "changed", count: pageSize, offset: view.offset });
  if (view.status) query.set("status", view.status);
  if (view.search) query.set("search", view.search);
  const asked = JSON.stringify([view.list, String(query)]);
  const page = await door("GET", `lists/${encodeURIComponent(view.list)}/members?${query}`);
  view.shown = asked;
  sync($("rows"), page.members, member => member.contact_id, member => memberRow(member, state));
  const end = view.offset + page.members.length;
  $("rows-empty").hidden = page.members.length > 0;
  text("rows-empty", view.search || view.status ? "No such member." : "This list is empty. Add contacts below, or let your integration push some.");
  const total = page.total == null ? "" : ` of ${page.total.toLocaleString("en")}`;
  text("range", page.members.length ? `${view.offset + 1} to ${end}${total}, last changed first` : "");
  $("newer").disabled = view.offset === 0;
  $("older").disabled = !page.more;
}

function memberRow(member, state) {
  const isOpen = view.open.has(member.contact_id);
  const name = [member.merge_fields.FNAME, member.merge_fields.LNAME].filter(part => typeof part === "string" && part).join(" ");
  const last = member.history[member.history.length - 1];
  const toggle = () => {
    if (!view.open.delete(member.contact_id)) view.open.add(member.contact_id);
    refresh();
  };
  const row = el("button", { class: "row", type: "button", "aria-expanded": String(isOpen), "data-act": "toggle", onclick: toggle },
    el("span", { class: "what" }, member.email_address, el("small", {}, [name, last && `${last.what} by ${last.by}`].filter(Boolean).join(" · "))),
    badge(member.status), el("span", { class: "when" }, when(member.last_changed, state.clock.now)));
  return isOpen ? [row, memberDetail(member, state)] : [row];
}

function callRow(call, now) {
  const isOpen = call.status === undefined;
  const failed = call.status === 0 || call.status >= 400;
  const label = isOpen ? "in flight" : call.status === 0 ? "cut off" : String(call.status);
  return [el("div", { class: "row" },
    el("span", { class: "when" }, when(call.at, now)),
    el("span", { class: call.method === "GET" ? "method" : "method writes" }, call.method),
    el("code", { class: "what" }, call.path.replace(/^\/3\.0/, "") + (call.query ? "?" + call.query : ""),
      call.fault ? el("small", {}, `fault: ${call.fault}`) : null),
    el("span", { class: "when" }, isOpen ? "" : `${call.milliseconds} ms`),
    badge(isOpen ? "waits" : failed ? "refused" : "good", label))];
}

function showCalls(state) {
  const wanted = call => view.kind === "" || (view.kind === "writes" ? call.method !== "GET" : !(call.status > 0 && call.status < 400));
  const calls = [...state.calls.open, ...state.calls.newest].filter(wanted);
  sync($("calls"), calls, call => call.sequence, call => callRow(call, state.clock.now), calls.length < 500);
  const isQuiet = state.calls.total === 0 && state.calls.open.length === 0;
  $("calls-empty").hidden = calls.length > 0;
  text("calls-empty", isQuiet
    ? "Nothing has called yet. Below is the address for your integration, and a call to try." : "No such call.");
}

async function refresh() {
  try {
    const state = await door("GET", "overview");
    showFigures(state);
    showLists(state);
    await showMembers(state);
    showCalls(state);
    showWeather(state);
    $("live").className = "live on";
    text("live-text", "live");
  } catch (error) {
    $("live").className = "live off";
    text("live-text", "the sandbox does not answer");
  }
}

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, 1000);
}
