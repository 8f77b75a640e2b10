package report

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"swell.dev/swell/billing"
)

var screenshots = flag.String("screenshots", "", "write pictures of the page into this `directory`")

// browser starts Debian's headless Chromium with nothing but this page; what it complains of and what it fetches are
// failures.
func browser(t *testing.T) context.Context {
	t.Helper()
	root, err := filepath.Abs("../../.cache/debian/chromium-headless-shell")
	if err != nil {
		t.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.NoFirstRun, chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
	}
	binary := filepath.Join(root, "usr/lib/chromium/chromium-headless-shell")
	if _, err := os.Stat(binary); err == nil {
		libs, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range slices.Clone(libs) {
			libs = append(libs, filepath.Join(l, "pulseaudio"))
		}
		options = append(options, chromedp.Env("LD_LIBRARY_PATH="+strings.Join(libs, ":")))
	} else if binary, err = exec.LookPath("chromium-headless-shell"); err != nil {
		t.Fatalf("%v: run make test-deps first", err)
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(options, chromedp.ExecPath(binary))...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	var mu sync.Mutex // guards wrong
	var wrong []string
	chromedp.ListenTarget(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			wrong = append(wrong, fmt.Sprintf("console: %s %v", e.Type, e.Args))
		case *runtime.EventExceptionThrown:
			wrong = append(wrong, "exception: "+e.ExceptionDetails.Error())
		case *cdplog.EventEntryAdded:
			wrong = append(wrong, "log: "+e.Entry.Text)
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, "file://") || !strings.HasSuffix(u, "/report.html") {
				wrong = append(wrong, "request: "+u)
			}
		}
	})
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, w := range wrong {
			t.Error(w)
		}
	})
	run(t, ctx, cdplog.Enable(), network.Enable(), runtime.Enable())
	return ctx
}

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// evaluate answers what an expression is in the page.
func evaluate[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	var out T
	run(t, ctx, chromedp.Evaluate(expression, &out))
	return out
}

const cellsOf = `[...document.querySelectorAll(%q)].filter(r => !r.hidden).map(r => [...r.cells].map(c => c.textContent))`

func TestPageInBrowser(t *testing.T) {
	o := overviewOf(t, query(t, october+"&by=workload"), sample(t, time.October), sample(t, time.September))
	r := o.Report
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(pageOf(t, o)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := browser(t)
	run(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate("file://"+file))

	rows := evaluate[[][]string](t, ctx, fmt.Sprintf(cellsOf, "#table tbody tr"))
	if len(rows) != len(r.Rows) {
		t.Fatalf("%d rows, want %d", len(rows), len(r.Rows))
	}
	places := decimals(r.Total.List)
	for i := range r.Rows {
		row := &r.Rows[i]
		n := len(rows[i])
		want := []string{money(row.List, places), money(row.Billed, places), money(row.Effective, places), money(row.Saving(), places), percent(row.Effective, r.Total.Effective)}
		if rows[i][0] != row.text(0) || !slices.Equal(rows[i][n-5:], want) {
			t.Errorf("row %d: %q, want %s … %q", i, rows[i], row.text(0), want)
		}
	}
	total := evaluate[[][]string](t, ctx, fmt.Sprintf(cellsOf, "#total"))[0]
	if want := money(r.Total.Billed, places); total[len(total)-4] != want {
		t.Errorf("total billed %q, want %s", total, want)
	}
	tiles := evaluate[[]string](t, ctx, `[...document.querySelectorAll(".tile .value")].map(v => v.firstChild.textContent.trim())`)
	if want := []string{money(r.Total.Billed, places), money(r.Total.Effective, places), money(r.Total.List, places), money(r.Total.Saving(), places)}; !slices.Equal(tiles[:4], want) {
		t.Errorf("tiles %q, want %q", tiles, want)
	}

	t.Run("sort", func(t *testing.T) {
		column := len(rows[0]) - 3 // cost of use
		sorted := slices.Clone(r.Rows)
		slices.SortStableFunc(sorted, func(x, y Row) int { return y.Effective.Compare(x.Effective) })
		for _, direction := range []string{"descending", "ascending"} {
			run(t, ctx, chromedp.Click(fmt.Sprintf("#table thead th:nth-child(%d) button", column+1), chromedp.ByQuery))
			got := evaluate[[][]string](t, ctx, fmt.Sprintf(cellsOf, "#table tbody tr"))
			if direction == "ascending" {
				slices.Reverse(sorted)
			}
			for i := range sorted {
				if got[i][0] != sorted[i].text(0) {
					t.Errorf("%s, row %d: %q, want %s", direction, i, got[i], sorted[i].text(0))
				}
			}
			if s := evaluate[string](t, ctx, fmt.Sprintf(`document.querySelector("#table thead th:nth-child(%d)").ariaSort`, column+1)); s != direction {
				t.Errorf("aria-sort %q, want %s", s, direction)
			}
		}
		// By keyboard, the keys.
		run(t, ctx, chromedp.Focus("#table thead th:first-child button", chromedp.ByQuery), chromedp.KeyEvent("\r"))
		got := evaluate[[][]string](t, ctx, fmt.Sprintf(cellsOf, "#table tbody tr"))
		if !slices.IsSortedFunc(got[1:], func(x, y []string) int { return strings.Compare(x[0], y[0]) }) {
			t.Errorf("by the first column: %q", got)
		}
	})

	t.Run("filter", func(t *testing.T) {
		run(t, ctx, chromedp.Focus("#filter", chromedp.ByQuery), chromedp.KeyEvent("SHOP/"))
		var sum Sums
		count := 0
		for i := range r.Rows {
			if strings.HasPrefix(r.Rows[i].Key[0], "shop/") {
				count++
				if err := sum.plus(&r.Rows[i].Sums); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := evaluate[[][]string](t, ctx, fmt.Sprintf(cellsOf, "#table tbody tr"))
		if len(got) != count || count == 0 {
			t.Errorf("%d rows, want %d", len(got), count)
		}
		total := evaluate[[][]string](t, ctx, fmt.Sprintf(cellsOf, "#total"))[0]
		want := []string{"Total of these rows"}
		for _, c := range r.cellViews(&sum, places) {
			want = append(want, c.Text)
		}
		if !slices.Equal(total, want) {
			t.Errorf("total %q, want %q", total, want)
		}
		if s := evaluate[string](t, ctx, `document.getElementById("shown").textContent`); s != fmt.Sprintf("%d of %d rows", count, len(r.Rows)) {
			t.Errorf("%q", s)
		}
		run(t, ctx, chromedp.Evaluate(`document.getElementById("filter").value = ""; document.getElementById("filter").dispatchEvent(new Event("input"))`, nil))
		if got := evaluate[[][]string](t, ctx, fmt.Sprintf(cellsOf, "#total"))[0]; got[0] != "Total" || got[len(got)-4] != money(r.Total.Billed, places) {
			t.Errorf("the total is %q then", got)
		}
	})

	t.Run("toggles", func(t *testing.T) {
		visible := `["costs-project", "costs-class"].map(id => document.getElementById(id).getBoundingClientRect().height > 100)`
		if v := evaluate[[]bool](t, ctx, visible); !v[0] || v[1] {
			t.Errorf("charts visible: %v", v)
		}
		run(t, ctx, chromedp.Click(`label[for="by-class"]`, chromedp.ByQuery))
		if v := evaluate[[]bool](t, ctx, visible); v[0] || !v[1] {
			t.Errorf("charts visible then: %v", v)
		}
		run(t, ctx, chromedp.Click(`label[for="by-project"]`, chromedp.ByQuery))
		background := `getComputedStyle(document.body).backgroundColor`
		light := evaluate[string](t, ctx, background)
		run(t, ctx, chromedp.Click("#theme", chromedp.ByQuery))
		if dark := evaluate[string](t, ctx, background); dark == light || evaluate[string](t, ctx, `document.documentElement.dataset.theme`) != "dark" {
			t.Errorf("light %s, dark %s", light, dark)
		}
		run(t, ctx, chromedp.Click("#theme", chromedp.ByQuery))
		if again := evaluate[string](t, ctx, background); again != light {
			t.Errorf("light again: %s, want %s", again, light)
		}
	})

	t.Run("charts", func(t *testing.T) {
		// The bars of a day are as high, together, as what the day cost.
		bars := evaluate[[]string](t, ctx, `[...document.querySelectorAll("#costs-project rect title")].map(t => t.textContent)`)
		days := map[string]billing.Money{}
		for i := range o.ByProject.Rows {
			row := &o.ByProject.Rows[i]
			if !row.Effective.IsZero() {
				days[row.Period.name(Daily, berlin)] = days[row.Period.name(Daily, berlin)].Plus(row.Effective)
			}
		}
		seen := map[string]bool{}
		for _, b := range bars {
			day, _, _ := strings.Cut(b, ",")
			seen[day] = true
			if days[day].IsZero() {
				t.Errorf("a bar %q", b)
			}
		}
		if len(seen) != 31 || len(days) != 31 {
			t.Errorf("bars of %d days, want %d", len(seen), len(days))
		}
		heights := evaluate[map[string]float64](t, ctx, `[...document.querySelectorAll("#costs-project rect")].filter(r => r.querySelector("title")).reduce((m, r) => {
			const day = r.querySelector("title").textContent.split(",")[0]; m[day] = (m[day] || 0) + r.height.baseVal.value; return m }, {})`)
		first := heights["2026-10-01"] / days["2026-10-01"].Float()
		for day, h := range heights {
			if got := h / days[day].Float(); got < first*0.99 || got > first*1.01 {
				t.Errorf("%s: %v px for %s", day, h, days[day])
			}
		}
	})

	t.Run("widths", func(t *testing.T) {
		for _, width := range []int64{320, 360, 700, 1040, 1280, 2560} {
			run(t, ctx, chromedp.EmulateViewport(width, 800))
			if w := evaluate[int64](t, ctx, `document.documentElement.scrollWidth`); w > width {
				t.Errorf("the page is %d px wide in a window of %d", w, width)
			}
			if wide := evaluate[[]string](t, ctx, `[...document.querySelectorAll(".tile")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)`); len(wide) > 0 {
				t.Errorf("in a window of %d px tiles are too narrow for %q", width, wide)
			}
		}
		run(t, ctx, chromedp.EmulateViewport(1280, 900))
	})

	t.Run("contrast", func(t *testing.T) {
		for _, theme := range []string{"light", "dark"} {
			run(t, ctx, chromedp.Evaluate(`document.documentElement.dataset.theme = "`+theme+`"`, nil))
			for _, of := range []string{"body", ".note", ".tile h2", "thead th", ".legend span", "td.up", "td.down", "summary", ".switch > input:checked + label"} {
				if c := evaluate[float64](t, ctx, fmt.Sprintf(contrast, of)); c < 4.5 {
					t.Errorf("%s, %s: contrast %.2f, want 4.5", theme, of, c)
				}
			}
		}
	})

	if *screenshots != "" {
		var top []byte // of the page, for the manual
		run(t, ctx, chromedp.EmulateViewport(1040, 1000), chromedp.Evaluate(`document.documentElement.dataset.theme = "light"; document.activeElement.blur()`, nil), chromedp.CaptureScreenshot(&top))
		if err := os.WriteFile(filepath.Join(*screenshots, "report.png"), top, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, s := range []struct {
			name, theme string
			width       int64
		}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"narrow", "light", 390}} {
			var png []byte
			run(t, ctx, chromedp.EmulateViewport(s.width, 900), chromedp.Evaluate(`document.documentElement.dataset.theme = "`+s.theme+`"; document.activeElement.blur()`, nil), chromedp.FullScreenshot(&png, 100))
			if err := os.WriteFile(filepath.Join(*screenshots, s.name+".png"), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}

	t.Run("without script", func(t *testing.T) {
		run(t, ctx, emulation.SetScriptExecutionDisabled(true), chromedp.Navigate("file://"+file), emulation.SetScriptExecutionDisabled(false))
		if got := evaluate[[][]string](t, ctx, fmt.Sprintf(cellsOf, "#table tbody tr")); len(got) != len(r.Rows) || !slices.Equal(got[0], rows[0]) {
			t.Errorf("%d rows, the first is %q", len(got), got[0])
		}
		if evaluate[bool](t, ctx, `!!document.querySelector(".scripted:not([hidden])")`) {
			t.Error("what needs the script is shown without it")
		}
	})
}

// contrast is WCAG's contrast ratio of an element's text and what is behind it.
const contrast = `(() => {
	const e = document.querySelector(%q);
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgb = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
	const luminance = (color) => { const [r, g, b] = rgb(color).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	let behind = e;
	while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
	const a = luminance(getComputedStyle(e).color), b = luminance(getComputedStyle(behind).backgroundColor);
	return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})()`
