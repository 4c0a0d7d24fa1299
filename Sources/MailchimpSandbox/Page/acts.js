const contactActs = [
  ["unsubscribe", "Unsubscribe", member => ["subscribed", "pending", "archived"].includes(member.status)],
  ["complain", "Complain of spam", member => member.status === "subscribed"],
  ["confirm", "Confirm", member => member.status === "pending"],
  ["resubscribe", "Sign up again", member => !["subscribed", "pending"].includes(member.status)],
];
const adminActs = [
  ["unsubscribe", "Unsubscribe", member => ["subscribed", "pending"].includes(member.status)],
  ["subscribe", "Subscribe", member => ["unsubscribed", "transactional"].includes(member.status)],
  ["archive", "Archive", member => member.status !== "archived"],
  ["unarchive", "Unarchive", member => member.status === "archived"],
  ["clean", "Let it bounce", member => member.status === "subscribed"],
];

function memberPath(member, rest) {
  return `lists/${encodeURIComponent(view.list)}/members/${encodeURIComponent(member.id)}/${rest}`;
}

function actButtons(member, by, acts) {
  return acts.filter(([, , fits]) => fits(member)).map(([act, label]) => el("button", {
    type: "button", "data-act": `${by}/${act}`,
    onclick: () => attempt(() => door("POST", memberPath(member, `${by}/${act}`), {}), `${member.email_address}: ${label.toLowerCase()}`),
  }, label));
}

/// Asks once more in its own place before it acts.
function deleteButton(member) {
  let isSure = false;
  return el("button", { type: "button", class: "plain", "data-act": "delete", onclick: event => {
    if (isSure) {
      return attempt(() => door("POST", memberPath(member, "admin/delete"), {}), `${member.email_address} is deleted for good`);
    }
    isSure = true;
    event.target.textContent = "Really, for good?";
  } }, "Delete for good");
}

function moveForm(member) {
  const input = el("input", { type: "email", required: true, placeholder: "new@people.test", "aria-label": "New address", autocomplete: "off" });
  return el("form", { class: "buttons", onsubmit: event => {
    event.preventDefault();
    attempt(() => door("POST", memberPath(member, "contact/change-address"), { email_address: input.value }), "The address is changed");
  } }, input, el("button", { type: "submit", "data-act": "move" }, "Change the address"));
}

function memberDetail(member, state) {
  const facts = [["Contact id", member.contact_id], ["Hash", member.id], ["Source", member.source]];
  for (const [tag, value] of Object.entries(member.merge_fields)) {
    if (value !== "" && value !== null) facts.push([tag, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  }
  if (member.tags.length) facts.push(["Tags", member.tags.join(", ")]);
  if (member.interests.length) facts.push(["Interests", member.interests.join(", ")]);
  if (member.beneath) facts.push(["Beneath", member.beneath]);
  if (member.own_no) facts.push(["Said no himself", `${member.own_no.kind}, ${when(member.own_no.at, state.clock.now)}`]);
  if (member.unsubscribe_reason) facts.push(["Reason", member.unsubscribe_reason]);
  facts.push(["Writes by calls", `${member.writes}, of which ${member.unchanged_writes} changed nothing`]);
  const history = [...member.history].reverse().map(entry => el("li", {},
    el("time", {}, when(entry.at, state.clock.now)), el("span", { class: `by ${entry.by}` }, entry.by),
    el("span", { class: "did" }, entry.what)));
  return el("div", { class: "detail" },
    el("h3", {}, "History"), el("ul", { class: "history" }, ...history),
    el("h3", {}, "Act as the contact"),
    el("div", { class: "buttons" }, ...actButtons(member, "contact", contactActs)),
    member.status === "subscribed" ? moveForm(member) : null,
    el("h3", {}, "Act as an admin"),
    el("div", { class: "buttons" }, ...actButtons(member, "admin", adminActs), deleteButton(member)),
    el("h3", {}, "Facts"),
    el("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}

function faultRow(fault) {
  const rule = Object.entries(fault.match).map(([name, value]) => `${name.replace("_", " ")} ${value}`);
  if (fault.share < 1) rule.push(`${Math.round(fault.share * 1000) / 10} % of calls`);
  if (fault.remaining !== null) rule.push(`${fault.remaining} more`);
  if (fault.skip > 0) rule.push(`after ${fault.skip}`);
  if (fault.milliseconds > 0) rule.push(`${fault.milliseconds} ms`);
  rule.push(fault.when === "after" ? "the work is done" : "the work is not done");
  return [el("div", { class: "row" },
    el("span", { class: "what" }, el("code", {}, fault.effect), el("small", {}, rule.join(" · "))),
    el("span", { class: "when" }, `${fault.hits} met`),
    el("button", { type: "button", class: "plain", "data-act": "remove", "aria-label": `Remove the fault ${fault.effect}`,
      onclick: () => attempt(() => door("DELETE", `faults/${fault.id}`)) }, "Remove"))];
}

function hookRow(hook) {
  const detail = `${hook.events.join(", ") || "no events"} · by ${hook.sources.join(", ") || "nobody"}${hook.signed ? " · signed" : ""}`;
  return [el("div", { class: "row" },
    el("span", { class: "what" }, el("code", {}, hook.url), el("small", {}, detail), hook.disabled ? el("small", {}, hook.disabled) : null),
    badge(hook.disabled ? "refused" : "good", hook.disabled ? "off" : "on"))];
}

function tryRow(one, now) {
  const isGood = one.status >= 200 && one.status < 300;
  return [el("div", { class: "row" },
    el("span", { class: "when" }, when(one.at, now)),
    el("span", { class: "what" }, one.type, one.attempt > 1 ? el("small", {}, `try ${one.attempt}`) : null),
    badge(isGood ? "good" : "refused", one.status === 0 ? "no answer" : String(one.status)))];
}

function switchRow(one) {
  const box = el("input", { type: "checkbox", "data-act": one.name, checked: one.value,
    onchange: event => attempt(() => door("PATCH", "switches", { [one.name]: event.target.checked })) });
  return [el("label", {}, box, el("span", {}, one.name.replaceAll("_", " "), el("small", {}, one.meaning)))];
}

function accountRow(account) {
  return [el("div", { class: "row" },
    el("span", { class: "what" }, account.name, el("small", {}, ...account.keys.flatMap(key => [el("code", {}, key), " "]))),
    badge(account.standing === "good" ? "good" : "refused", account.standing.replaceAll("_", " ")))];
}

function showWeather(state) {
  sync($("faults"), state.faults, fault => fault.id, faultRow, false);
  $("faults-empty").hidden = state.faults.length > 0;
  $("remove-faults").hidden = state.faults.length === 0;
  if ($("effect").children.length === 0) $("effect").append(...state.effects.map(effect => el("option", {}, effect)));
  press($("latency"), "preset", Object.values(state.latency).some(value => value > 0) ? "realistic" : "none");
  const hooks = state.lists.flatMap(list => list.webhooks);
  sync($("hooks"), hooks, hook => hook.id, hookRow, false);
  $("hooks-empty").hidden = hooks.length > 0;
  sync($("tries"), state.deliveries, one => `${one.delivery}/${one.attempt}`, one => tryRow(one, state.clock.now));
  $("tries-empty").hidden = state.deliveries.length > 0;
  for (const field of $("noise").elements) {
    if (field !== document.activeElement) select(field, String(state.webhooks[field.name]));
  }
  sync($("switches"), state.switches, one => one.name, switchRow, false);
  sync($("accounts"), state.accounts, account => account.id, accountRow, false);
  showExample(state);
}

function showExample(state) {
  const owner = state.lists.find(list => list.id === view.list)?.account;
  const key = state.accounts.find(account => account.id === owner)?.keys[0] || state.accounts[0]?.keys[0] || "KEY";
  text("base", `${location.origin}/3.0/`);
  text("example", `curl -u any:${key} ${location.origin}/3.0/lists/${view.list || "LIST"}/members \\\n`
    + `  -d '{"email_address":"ann@people.test","status":"subscribed"}'`);
}

/// Chooses a value, which whoever set it elsewhere may have made another than those on offer.
function select(field, value) {
  if (![...field.options].some(option => option.value === value)) field.append(el("option", { value }, value));
  if (field.value !== value) field.value = value;
}

function listen() {
  for (const name of ["drop_share", "double_share"]) {
    $("noise").elements[name].append(...[["0", "none"], ["0.1", "one in ten"], ["0.5", "half"], ["1", "all"]]
      .map(([value, label]) => el("option", { value }, label)));
  }
  $("noise").addEventListener("change", event => {
    const { name, value } = event.target;
    attempt(() => door("PATCH", "webhooks", { [name]: JSON.parse(value) }));
  });
  $("noise").addEventListener("submit", event => event.preventDefault());
  $("advance").addEventListener("click", event => {
    const seconds = Number(event.target.dataset.seconds);
    if (seconds) attempt(() => door("POST", "clock", { advance: seconds }));
  });
  let typing;
  $("search").addEventListener("input", event => {
    clearTimeout(typing);
    typing = setTimeout(() => choose({ search: event.target.value.trim() }), 250);
  });
  $("newer").addEventListener("click", () => choose({ offset: Math.max(0, view.offset - pageSize) }));
  $("older").addEventListener("click", () => choose({ offset: view.offset + pageSize }));
  $("kinds").addEventListener("click", event => {
    if (event.target.dataset.kind === undefined) return;
    view.kind = event.target.dataset.kind;
    press($("kinds"), "kind", view.kind);
    refresh();
  });
  $("forget-calls").addEventListener("click", () => attempt(() => door("DELETE", "requests"), "All calls are forgotten"));
  $("remove-faults").addEventListener("click", () => attempt(() => door("DELETE", "faults"), "Everything works again"));
  $("latency").addEventListener("click", event => {
    if (event.target.dataset.preset) attempt(() => door("PUT", "latency", { preset: event.target.dataset.preset }));
  });
  $("presets").addEventListener("click", event => {
    if (event.target.dataset.preset) attempt(() => door("PATCH", "switches", { preset: event.target.dataset.preset }));
  });
  $("add").addEventListener("submit", event => {
    event.preventDefault();
    const { email_address, FNAME, LNAME, by } = Object.fromEntries(new FormData(event.target));
    const contact = { by, contacts: [{ email_address, merge_fields: { FNAME, LNAME } }] };
    attempt(async () => {
      const answer = await door("POST", `lists/${encodeURIComponent(view.list)}/contacts`, contact);
      if (answer.errors.length) throw new Error(answer.errors[0].error);
      event.target.elements.email_address.value = "";
    }, `${email_address} is added`);
  });
  $("generate").addEventListener("click", () => attempt(
    () => door("POST", `lists/${encodeURIComponent(view.list)}/contacts`, { generate: 100, prefix: `made${Date.now() % 100000}-` }), "100 are added"));
  $("fault").addEventListener("submit", event => {
    event.preventDefault();
    const given = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value !== ""));
    const rule = { effect: given.effect, share: Number(given.share), match: {} };
    if (given.when) rule.when = given.when;
    for (const name of ["count", "milliseconds"]) if (given[name]) rule[name] = Number(given[name]);
    for (const name of ["method", "member"]) if (given[name]) rule.match[name] = given[name];
    attempt(() => door("POST", "faults", rule));
  });
}

listen();
keepFresh();
