"use strict";
// Sorts, filters and the choice of colours. Everything is readable without it.
(() => {
  for (const e of document.querySelectorAll(".scripted")) e.hidden = false;

  const theme = document.getElementById("theme");
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    name();
  });
  name();

  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const keys = Number(table.dataset.keys);

  // exact reads a decimal of up to 21 places as a whole number of 1e-21: no float is involved.
  const places = 21;
  const exact = (s) => {
    const [whole, fraction = ""] = s.replace("-", "").split(".");
    const v = BigInt(whole + fraction.padEnd(places, "0"));
    return s.startsWith("-") ? -v : v;
  };
  // rounded writes it with as many places and commas as the example has, half to even.
  const rounded = (v, example) => {
    const shown = (example.split(".")[1] || "").length;
    const unit = 10n ** BigInt(places - shown);
    const m = v < 0n ? -v : v;
    let q = m / unit;
    const twice = (m % unit) * 2n;
    if (twice > unit || (twice === unit && q % 2n === 1n)) q += 1n;
    const digits = q.toString().padStart(shown + 1, "0");
    const whole = digits.slice(0, digits.length - shown).replace(/\B(?=(\d{3})+$)/g, ",");
    return (v < 0n ? "-" : "") + whole + (shown ? "." + digits.slice(digits.length - shown) : "");
  };

  const compare = {
    text: (a, b) => a.textContent.localeCompare(b.textContent, "en", { numeric: true }),
    number: (a, b) => {
      const x = exact(a.dataset.v || "0"), y = exact(b.dataset.v || "0");
      return x < y ? -1 : x > y ? 1 : 0;
    },
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((th, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = th.textContent;
    th.replaceChildren(button);
    button.addEventListener("click", () => {
      const first = th.dataset.sort === "number" ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = th.getAttribute("aria-sort") === first ? other : first;
      for (const h of heads) h.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows];
      rows.sort((a, b) => {
        const others = a.classList.contains("others") - b.classList.contains("others");
        return others || sign * compare[th.dataset.sort](a.cells[at], b.cells[at]);
      });
      body.append(...rows);
    });
  });

  const total = document.getElementById("total");
  const whole = [...total.cells].map((c) => c.textContent);
  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    let count = 0;
    const sums = whole.map(() => 0n);
    for (const row of body.rows) {
      const text = [...row.cells].slice(0, keys).map((c) => c.textContent).join("\n").toLowerCase();
      row.hidden = !text.includes(wanted);
      if (row.hidden) continue;
      count++;
      for (let i = keys; i < row.cells.length; i++) sums[i - keys + 1] += exact(row.cells[i].dataset.v || "0");
    }
    const all = wanted === "";
    shown.textContent = all ? "" : count + " of " + body.rows.length + " rows";
    [...total.cells].forEach((cell, i) => {
      if (i === 0) cell.textContent = all ? whole[0] : "Total of these rows";
      else if (all) cell.textContent = whole[i];
      else if (whole[i].endsWith("%")) cell.textContent = rounded(sums[i] * 100n, whole[i].slice(0, -1)) + "%";
      else cell.textContent = rounded(sums[i], whole[i]);
    });
  });
})();
