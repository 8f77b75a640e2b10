package swell_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "swell.dev/swell"

// mayImport is the import table: which of our packages a package may import. An entry covers the folder
// and what is below it; the longest entry that covers a package holds. "." is the folder's own root
// package, which every child may import; siblings are never in the list.
var mayImport = map[string][]string{
	"api":          {},
	"internal":     {},
	"cgroups":      {"cgroups"},
	"gpu":          {},
	"controlplane": {"controlplane", "api/...", "internal/..."},
	"nodelet":      {"nodelet", "api/...", "cgroups/...", "gpu", "internal/..."},
	"billing":      {"billing", "api/usage/...", "internal/..."},
	"bridge":       {"api/...", "internal/..."},
	"perf":         {"api/...", "billing/...", "cgroups/...", "internal/...", "nodelet/..."}, // billing: what it measures in a process of its own
	"examples":     {"api/...", "internal/..."},
	"cmd":          {"api/...", "billing/...", "bridge/...", "cgroups/...", "cmd/...", "controlplane/...", "gpu/...", "internal/...", "nodelet/..."},
	"e2e":          {"api/...", "internal/..."},
}

// exceptions are packages whose imports go beyond their folder's row, each with its reason.
var exceptions = map[string][]string{
	"nodelet/containerd":  {"nodelet/runtimetest"}, // tests only: the suite that both runtimes share
	"nodelet/sim":         {"nodelet/runtimetest"}, // tests only
	"nodelet/runtimetest": {"internal/..."},
	"cgroups/vmtest":      {"internal/ociimage", "internal/vm"}, // tests only: boots suites, with a server in the machine
}

// TestImports holds the architecture. It reads the files itself: the go command caches a test's result
// without looking at imports of packages that the test doesn't import.
func TestImports(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); file != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || hasOwnModule(file)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || path.Dir(file) == "." {
			return nil
		}
		checked++
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if rel, ours := strings.CutPrefix(target, module+"/"); ours {
				if why := refused(filepath.ToSlash(path.Dir(file)), rel); why != "" {
					t.Errorf("%s imports %s: %s", file, rel, why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 50 {
		t.Fatalf("only %d files were read: is the test run in the module's root?", checked)
	}
}

func TestImportTableRefuses(t *testing.T) {
	for _, c := range []struct {
		pkg, target string
		refused     bool
	}{
		{"controlplane/store", "controlplane", false},
		{"controlplane/store", "controlplane/scheduler", true},
		{"controlplane", "controlplane/store", true},
		{"nodelet/session", "cgroups", false},
		{"nodelet/session", "controlplane", true},
		{"billing/ledger", "api/usage/v1", false},
		{"billing/ledger", "api/v1alpha1", true},
		{"cgroups", "internal/anything", true},
		{"api/node/v1", "api/usage/v1", true},
		{"cmd/swell", "perf", true},
		{"cmd/swell", "nodelet/sim", false},
	} {
		if got := refused(c.pkg, c.target) != ""; got != c.refused {
			t.Errorf("%s imports %s: refused %v, want %v", c.pkg, c.target, got, c.refused)
		}
	}
}

func refused(pkg, target string) string {
	if pkg == target {
		return "" // an external test package
	}
	folder, _, _ := strings.Cut(pkg, "/")
	allowed, known := mayImport[folder]
	if !known {
		return "folder " + folder + " isn't in the import table"
	}
	if pkg == folder && target != folder && strings.HasPrefix(target, folder+"/") {
		return "a folder's root package is its vocabulary and doesn't import its children"
	}
	for _, a := range append(append([]string(nil), allowed...), exceptions[pkg]...) {
		if tree, ok := strings.CutSuffix(a, "/..."); ok {
			if target == tree || strings.HasPrefix(target, tree+"/") {
				return ""
			}
		} else if target == a {
			return ""
		}
	}
	return "not in the import table of " + folder
}

// hasOwnModule reports folders that aren't part of this module.
func hasOwnModule(dir string) bool {
	matches, err := filepath.Glob(filepath.Join(dir, "go.mod"))
	return err == nil && len(matches) > 0 && dir != "."
}
