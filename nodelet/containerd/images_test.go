package containerd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"swell.dev/swell/internal/ociimage"
	"swell.dev/swell/nodelet"
)

func TestNormalise(t *testing.T) {
	for ref, want := range map[string]string{
		"busybox":            "docker.io/library/busybox:latest",
		"team/app:1":         "docker.io/team/app:1",
		"127.0.0.1:5000/app": "127.0.0.1:5000/app:latest",
		"ghcr.io/a/b@sha256:" + strings.Repeat("0", 64): "ghcr.io/a/b@sha256:" + strings.Repeat("0", 64),
	} {
		if got, err := normalise(ref); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", ref, got, err, want)
		}
	}
}

func TestMatchingCredentials(t *testing.T) {
	creds := []nodelet.Credential{
		{Registry: "https://index.docker.io/v1/", Username: "hub"},
		{Registry: "example.com:5000", Username: "all"},
		{Registry: "example.com:5000/team", Username: "team"},
		{Registry: "*.example.com", Username: "glob"},
		{Registry: "example.com:5000/tea", Username: "prefix"},
	}
	for image, want := range map[string][]string{
		"busybox":                   {"hub"},
		"example.com:5000/team/app": {"team", "all"},
		"example.com:5000/other":    {"all"},
		"r.example.com/app":         {"glob"},
		"a.r.example.com/app":       nil,
		"example.org/app":           nil,
	} {
		var got []string
		for _, c := range matching(creds, image) {
			got = append(got, c.Username)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", image, got, want)
		}
	}
}

// guarded is a registry behind logins: basic under /v2, or bearer tokens from /token.
func guarded(t *testing.T, bearer bool) string {
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:secret"))
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		switch {
		case r.URL.Path == "/token" && auth == basic:
			fmt.Fprint(w, `{"token":"ticket"}`)
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who is that"}]}`)
		case bearer && auth == "Bearer ticket", !bearer && auth == basic:
			inner.ServeHTTP(w, r)
		default:
			challenge := `Basic realm="test"`
			if bearer {
				challenge = fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:app:pull"`, server.URL)
			}
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"the gate is shut"}]}`)
		}
	}))
	t.Cleanup(server.Close)
	img, err := ociimage.FromFiles(nil, v1.Config{User: "77", StopSignal: "SIGUSR1", Cmd: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	direct := httptest.NewServer(inner)
	defer direct.Close()
	if err := ociimage.Push(t.Context(), strings.TrimPrefix(direct.URL, "http://")+"/app:1", img); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(server.URL, "http://")
}

func TestPullWithLogin(t *testing.T) {
	h := open(t)
	for _, bearer := range []bool{false, true} {
		addr := guarded(t, bearer)
		ref := addr + "/app:1"
		wrong := nodelet.Credential{Registry: addr, Username: "ann", Password: "wrong"}
		right := nodelet.Credential{Registry: addr, Username: "ann", Password: "secret"}
		if _, err := h.Images.Pull(t.Context(), ref, nil); !errors.Is(err, nodelet.ErrImagePull) {
			t.Errorf("bearer %v: an anonymous pull answers %v", bearer, err)
		}
		_, err := h.Images.Pull(t.Context(), ref, []nodelet.Credential{wrong})
		if !errors.Is(err, nodelet.ErrImagePull) || !strings.Contains(err.Error(), "401") && !strings.Contains(err.Error(), "gate is shut") {
			t.Errorf("bearer %v: a wrong password answers %v", bearer, err)
		}
		img, err := h.Images.Pull(t.Context(), ref, []nodelet.Credential{wrong, right})
		if err != nil || img.User != "77" || img.StopSignal != "SIGUSR1" {
			t.Errorf("bearer %v: the second login answers %+v, %v", bearer, img, err)
		}
	}
}

// TestImportWithoutName: archives of images that never saw a registry.
func TestImportWithoutName(t *testing.T) {
	h := open(t)
	img, err := ociimage.FromFiles(nil, v1.Config{User: "nameless"})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"":                  importedName + "@" + digest.String(),
		"v7":                importedName + ":v7",
		"example.com/app:7": "example.com/app:7",
		"local:7":           "docker.io/library/local:7",
	} {
		archive := filepath.Join(t.TempDir(), "layout.tar")
		if err := ociimage.WriteLayout(archive, name, img); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(archive)
		if err != nil {
			t.Fatal(err)
		}
		refs, err := h.Images.Import(t.Context(), f)
		if err := errors.Join(err, f.Close()); err != nil || len(refs) != 1 || refs[0] != want {
			t.Errorf("%q was imported as %v, %v", name, refs, err)
			continue
		}
		if got, err := h.Images.Get(t.Context(), refs[0]); err != nil || got.User != "nameless" || got.Digest != digest.String() {
			t.Errorf("%s is %+v, %v", refs[0], got, err)
		}
	}
}

// TestFlights: those who ask for work under way share it; it ends when the last of them has given up.
func TestFlights(t *testing.T) {
	var f flights
	begun, release := make(chan context.Context, 8), make(chan struct{})
	work := func(ctx context.Context) (nodelet.Image, error) {
		begun <- ctx
		select {
		case <-release:
			return nodelet.Image{Ref: "done"}, nil
		case <-ctx.Done():
			return nodelet.Image{}, ctx.Err()
		}
	}
	type answer struct {
		img nodelet.Image
		err error
	}
	answers := make(chan answer, 8)
	ask := func(ctx context.Context, key string) {
		before := waiters(&f, key)
		go func() {
			img, err := f.do(ctx, key, work)
			answers <- answer{img, err}
		}()
		for waiters(&f, key) == before {
			runtime.Gosched()
		}
	}
	first, leave := context.WithCancel(t.Context())
	ask(first, "a")
	shared := <-begun
	ask(t.Context(), "a")
	leave()
	if a := <-answers; !errors.Is(a.err, context.Canceled) {
		t.Errorf("who has left gets %+v", a)
	}
	if shared.Err() != nil {
		t.Error("the work ended with the first of two who want it")
	}
	close(release)
	if a := <-answers; a.err != nil || a.img.Ref != "done" {
		t.Errorf("who stayed gets %+v", a)
	}
	if len(begun) != 0 {
		t.Error("the work was begun twice")
	}

	release = make(chan struct{})
	only, leave := context.WithCancel(t.Context())
	ask(only, "b")
	shared = <-begun
	leave()
	<-shared.Done()
	<-answers
	if waiters(&f, "b") != 0 {
		t.Error("work that nobody wants can still be joined")
	}
}

func waiters(f *flights, key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.flying[key]; fl != nil {
		return fl.waiters
	}
	return 0
}
