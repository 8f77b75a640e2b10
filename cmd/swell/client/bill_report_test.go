package client

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBillReport(t *testing.T) {
	f := newFakeAPI(t)
	var asked string
	serve := func(w http.ResponseWriter, r *http.Request) {
		asked = r.PathValue("ns") + " " + r.URL.RawQuery
		if r.URL.Query().Get("by") == "colour" {
			answer(w, 400, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "BadRequest", "code": 400, "message": `by: dimension "colour": want one of pod`})
			return
		}
		_, _ = io.WriteString(w, "the report\n")
	}
	f.group("GET /namespaces/{ns}/billing/report", serve)
	f.group("GET /billing/report", serve)
	for args, want := range map[string]string{
		"": " format=table",
		"-n shop --month 2026-10 --zone Europe/Berlin --by project,day --limit 5":  "shop by=project%2Cday&format=table&limit=5&month=2026-10&zone=Europe%2FBerlin",
		"--by label:team --by plan --filter class=gpu --filter class=x -l app=web": " by=label%3Ateam%2Cplan&filter=class%3Dgpu&filter=class%3Dx&format=table&labelSelector=app%3Dweb",
		"--from 2026-11-01 --step hour --format csv --account retail --by=":        " account=retail&by=&format=csv&from=2026-11-01&step=hour",
	} {
		r := f.mustRun(append([]string{"bill", "report"}, strings.Fields(args)...)...)
		if asked != want || r.stdout != "the report\n" {
			t.Errorf("%s: asked %q, want %q; printed %q", args, asked, want, r.stdout)
		}
	}
	for name, format := range map[string]string{"october.html": "html", "a.CSV": "csv", "a.json": "json", "a.txt": "table"} {
		file := filepath.Join(t.TempDir(), name)
		r := f.mustRun("bill", "report", "-O", file)
		got, err := os.ReadFile(file)
		if err != nil || string(got) != "the report\n" || r.stdout != "" || !strings.Contains(asked, "format="+format) {
			t.Errorf("%s: %q %v, asked %s, printed %q", name, got, err, asked, r.stdout)
		}
		if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
			t.Errorf("%s: left beside it: %v %v", name, entries, err)
		}
	}
	file := filepath.Join(t.TempDir(), "kept.csv")
	if err := os.WriteFile(file, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := f.run("bill", "report", "--by", "colour", "-O", file); r.err == nil || !strings.Contains(r.err.Error(), `dimension "colour"`) {
		t.Errorf("%v", r.err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "before" {
		t.Errorf("a refused report left %q %v", got, err)
	}
	if r := f.run("bill", "report", "--format", "pdf"); r.err == nil || !strings.Contains(r.err.Error(), "want one of table, csv, json, html") {
		t.Errorf("%v", r.err)
	}
}
