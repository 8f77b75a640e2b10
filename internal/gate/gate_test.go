package gate

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestRequest(t *testing.T) {
	for name, p := range map[string]Process{
		"usual": {Args: []string{"sh", "-c", "true"}, Env: []string{"A=1", "B="}},
		"odd":   {Args: []string{"", "two\nlines"}, Env: []string{"LONG=" + strings.Repeat("x", 200_000)}},
		"none":  {},
	} {
		t.Run(name, func(t *testing.T) {
			raw := p.Encode()
			got, err := Decode(bytes.NewReader(raw))
			if err != nil || !reflect.DeepEqual(got, p) {
				t.Errorf("decoded %v, %v", got, err)
			}
			for _, cut := range []int{0, 3, 4, len(raw) - 1} {
				if got, err := Decode(bytes.NewReader(raw[:cut])); err == nil {
					t.Errorf("%d of %d bytes are %v", cut, len(raw), got)
				}
			}
		})
	}
	for _, bad := range []string{"\xff\xff\xff\xff", "\x00\x00\x00\x02\x05\x05", "\x00\x00\x00\x03\x01\x01a"} {
		if got, err := Decode(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, mode := range map[string]os.FileMode{"a/tool": 0o755, "b/tool": 0o755, "a/plain": 0o644, "b/plain": 0o755, "here": 0o755} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	path := "PATH=" + dir + "/none:" + dir + "/a:" + dir + "/b:"
	for name, want := range map[string]string{
		"tool": dir + "/a/tool", "plain": dir + "/b/plain", dir + "/b/tool": dir + "/b/tool", "./here": "./here", "here": "./here",
		"none": `exec: "none": executable file not found in $PATH`, "./a": `exec: "./a": is a directory`,
		"./gone": `exec: "./gone": stat ./gone: no such file or directory`,
	} {
		got, err := LookPath(name, []string{"PATH=/ignored", path})
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
