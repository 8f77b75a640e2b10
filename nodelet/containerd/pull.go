package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"

	"swell.dev/swell/nodelet"
)

// Pull implements nodelet.Images. Of the credentials, those for the image's registry are tried, the
// most specific first; without any the pull is anonymous. Registries on loopback are spoken to over
// plain HTTP. Pulls of one image with the same credentials share the work, which ends when the last
// one waiting for it has given up.
func (i *Images) Pull(ctx context.Context, ref string, creds []nodelet.Credential) (nodelet.Image, error) {
	name, err := normalise(ref)
	if err != nil {
		return nodelet.Image{}, err
	}
	logins := matching(creds, name)
	key := fmt.Sprintf("%s %q", name, logins)
	img, err := i.flights.do(ctx, key, func(ctx context.Context) (nodelet.Image, error) {
		return i.pull(i.in(ctx), name, logins)
	})
	if err != nil {
		return nodelet.Image{}, fmt.Errorf("image %s: %w: %s", name, nodelet.ErrImagePull, oneLine(err))
	}
	return img, nil
}

func (i *Images) pull(ctx context.Context, name string, logins []nodelet.Credential) (nodelet.Image, error) {
	if len(logins) == 0 {
		logins = []nodelet.Credential{{}}
	}
	var failures []error
	for _, login := range logins {
		transport := docker.DefaultHTTPTransport(nil)
		said := &registryErrors{next: transport}
		img, err := i.client.Pull(ctx, name,
			client.WithResolver(resolver(login, said)),
			client.WithPullUnpack,
			client.WithPullSnapshotter(i.cfg.Snapshotter),
		)
		transport.CloseIdleConnections()
		if err == nil {
			return describe(ctx, img)
		}
		failures = append(failures, said.explain(err))
		if ctx.Err() != nil {
			break
		}
	}
	return nodelet.Image{}, errors.Join(failures...)
}

// resolver speaks to registries with one login.
func resolver(login nodelet.Credential, transport http.RoundTripper) remotes.Resolver {
	c := &http.Client{Transport: transport}
	auth := docker.NewDockerAuthorizer(docker.WithAuthClient(c), docker.WithAuthCreds(func(string) (string, string, error) {
		if login.Token != "" {
			return "", login.Token, nil // an identity token goes without a name
		}
		return login.Username, login.Password, nil
	}))
	hosts := docker.ConfigureDefaultRegistries(
		docker.WithClient(c), docker.WithAuthorizer(auth), docker.WithPlainHTTP(docker.MatchLocalhost))
	return docker.NewResolver(docker.ResolverOptions{Hosts: hosts})
}

// registryErrors keeps what a registry says when it refuses a HEAD, which has no body to say it in: the
// request is made again as a GET.
type registryErrors struct {
	next http.RoundTripper
	mu   sync.Mutex // guards said
	said string
}

// RoundTrip implements http.RoundTripper.
func (t *registryErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || req.Method != http.MethodHead || resp.StatusCode < http.StatusBadRequest {
		return resp, err
	}
	if resp.StatusCode == http.StatusUnauthorized && req.Header.Get("Authorization") == "" {
		return resp, nil // it will log in
	}
	again := req.Clone(req.Context())
	again.Method = http.MethodGet
	got, err := t.next.RoundTrip(again)
	if err != nil {
		return resp, nil //nolint:nilerr // the answer to the request itself is what counts
	}
	defer got.Body.Close() //nolint:errcheck // it was only read
	var body docker.Errors
	b, err := io.ReadAll(io.LimitReader(got.Body, 64<<10))
	if err == nil && json.Unmarshal(b, &body) == nil && body.Len() > 0 {
		t.mu.Lock()
		t.said = body.Error()
		t.mu.Unlock()
	}
	return resp, nil
}

func (t *registryErrors) explain(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said == "" || strings.Contains(err.Error(), t.said) {
		return err
	}
	return fmt.Errorf("%w: %s", err, t.said)
}

// oneLine is an error's text for a pod's status.
func oneLine(err error) string {
	if errdefs.IsCanceled(err) {
		return "cancelled"
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// flights share work that is under way between those who ask for it.
type flights struct {
	mu     sync.Mutex // guards flying and the waiters in it
	flying map[string]*flight
}

type flight struct {
	done    chan struct{}
	img     nodelet.Image // after done
	err     error         // after done
	waiters int
	cancel  context.CancelFunc
}

func (f *flights) do(ctx context.Context, key string, work func(context.Context) (nodelet.Image, error)) (nodelet.Image, error) {
	f.mu.Lock()
	fl := f.flying[key]
	if fl == nil {
		if f.flying == nil {
			f.flying = map[string]*flight{}
		}
		shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
		fl = &flight{done: make(chan struct{}), cancel: cancel}
		f.flying[key] = fl
		go func() {
			defer cancel()
			fl.img, fl.err = work(shared)
			f.mu.Lock()
			f.dropLocked(key, fl)
			f.mu.Unlock()
			close(fl.done)
		}()
	}
	fl.waiters++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if fl.waiters--; fl.waiters == 0 {
			f.dropLocked(key, fl)
			fl.cancel()
		}
	}()
	select {
	case <-fl.done:
		return fl.img, fl.err
	case <-ctx.Done():
		return nodelet.Image{}, ctx.Err()
	}
}

// dropLocked keeps work that has ended, or is given up, from being joined.
func (f *flights) dropLocked(key string, fl *flight) {
	if f.flying[key] == fl {
		delete(f.flying, key)
	}
}
