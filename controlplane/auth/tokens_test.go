package auth

import (
	"bytes"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crypto/ecdsa"
	"crypto/tls"

	"swell.dev/swell/controlplane"
)

var discard = log.New(io.Discard, "", 0)

func pairOf(t *testing.T, certPEM []byte, key *ecdsa.PrivateKey) tls.Certificate {
	t.Helper()
	block, _ := pem.Decode(certPEM)
	if block == nil {
		t.Fatal("no certificate in PEM")
	}
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
}

func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.csv")
	const content = "# people\nt1,alice,u1\n\nt2, bob ,u2,\"a,b\"\nt3,carol,,single\nt4,dan,u4,\"\"\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := NewTokenFile(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]controlplane.User{
		"t1": {Name: "alice", UID: "u1", Groups: []string{"system:authenticated"}},
		"t2": {Name: "bob ", UID: "u2", Groups: []string{"a", "b", "system:authenticated"}},
		"t3": {Name: "carol", Groups: []string{"single", "system:authenticated"}},
		"t4": {Name: "dan", UID: "u4", Groups: []string{"system:authenticated"}},
	} {
		if got, ok := f.lookup(token); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", token, got, ok)
		}
	}
	for _, token := range []string{"", "t", "t11", "# people", "alice"} {
		if got, ok := f.lookup(token); ok {
			t.Errorf("%q is %+v", token, got)
		}
	}
	if len(f.users) != 4 {
		t.Errorf("%d users", len(f.users))
	}
}

func TestTokenFileThatIsNone(t *testing.T) {
	for content, want := range map[string]string{
		"t,u\n":            "line 1: 2 fields",
		"a,b,c\nt,u,i,g,x": "line 2: 5 fields",
		",u,i\n":           "line 1: token and user must not be empty",
		"t,,i\n":           "line 1: token and user must not be empty",
		"t,u,i\nt,v,j\n":   "line 2: the token stands on an earlier line too",
		"t,u,\"i\n":        "quoted-field",
	} {
		path := filepath.Join(t.TempDir(), "tokens.csv")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewTokenFile(path, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "token file "+path) && !strings.Contains(err.Error(), "token file: ") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
	if _, err := NewTokenFile(t.TempDir(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a folder is a token file")
	}
}

func TestTokenFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.csv")
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		f, err := NewTokenFile(path, slog.New(slog.NewTextHandler(&said, nil))) // it needn't be there yet
		if err != nil {
			t.Fatal(err)
		}
		known := func(token string) bool { _, ok := f.lookup(token); return ok }
		write := func(content string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("one,u,1\n")
		if known("one") {
			t.Error("the file is read for every look-up")
		}
		<-time.After(recheck + time.Millisecond)
		if !known("one") {
			t.Error("a file that appeared isn't read")
		}
		write("three,u,1\n")
		<-time.After(recheck + time.Millisecond)
		if known("one") || !known("three") {
			t.Error("a change isn't read")
		}
		write("broken\n")
		<-time.After(recheck + time.Millisecond)
		for range 3 {
			if !known("three") {
				t.Error("a slip in the file locks everybody out")
			}
			<-time.After(recheck + time.Millisecond)
		}
		if n := strings.Count(said.String(), "line 1: 1 fields"); n != 1 {
			t.Errorf("the slip was told %d times:\n%s", n, said.String())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		<-time.After(recheck + time.Millisecond)
		if known("three") {
			t.Error("a token outlives its file")
		}
	})
}
