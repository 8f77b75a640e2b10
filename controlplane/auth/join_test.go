package auth

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func openTokens(t *testing.T, path string) *JoinTokens {
	t.Helper()
	j, err := OpenJoinTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func newToken(t *testing.T, j *JoinTokens, ttl time.Duration) (string, time.Time) {
	t.Helper()
	token, expires, err := j.New(ttl)
	if err != nil {
		t.Fatal(err)
	}
	return token, expires
}

func TestJoinTokenIsUsedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	j := openTokens(t, path)
	token, _ := newToken(t, j, 0)
	other, _ := newToken(t, j, 0)
	if raw, err := hex.DecodeString(token); err != nil || len(raw) != 32 || token == other {
		t.Errorf("%q and %q aren't 256 random bits", token, other)
	}
	for _, wrong := range []string{"", "x", token[1:], token + "0", strings.ToUpper(token) + "x", hashed(token)} {
		if err := j.Redeem(wrong); !errors.Is(err, ErrJoinToken) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if err := j.Redeem(token); err != nil {
		t.Fatal(err)
	}
	if err := j.Redeem(token); !errors.Is(err, ErrJoinToken) {
		t.Errorf("used twice: %v", err)
	}
	again := openTokens(t, path)
	if err := again.Redeem(token); !errors.Is(err, ErrJoinToken) {
		t.Errorf("used again after a restart: %v", err)
	}
	if err := again.Redeem(other); err != nil {
		t.Errorf("lost over a restart: %v", err)
	}
}

func TestJoinTokenLetsOneIn(t *testing.T) {
	j := openTokens(t, filepath.Join(t.TempDir(), "tokens.json"))
	for range 20 {
		token, _ := newToken(t, j, 0)
		var in, refused atomic.Int32
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range 16 {
			wg.Go(func() {
				<-begin
				switch err := j.Redeem(token); {
				case err == nil:
					in.Add(1)
				case errors.Is(err, ErrJoinToken):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		close(begin)
		wg.Wait()
		if in.Load() != 1 || refused.Load() != 15 {
			t.Fatalf("%d came in, %d were refused", in.Load(), refused.Load())
		}
	}
}

func TestJoinTokenExpires(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	j := openTokens(t, path)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	j.now = func() time.Time { return now }
	if _, expires := newToken(t, j, 0); !expires.Equal(now.Add(DefaultJoinTTL)) {
		t.Errorf("without a lifetime: %s", expires)
	}
	if _, _, err := j.New(-time.Second); err == nil {
		t.Error("a lifetime may be negative")
	}
	last, expires := newToken(t, j, time.Minute)
	late, _ := newToken(t, j, time.Minute)
	now = expires
	if err := j.Redeem(last); err != nil {
		t.Errorf("in its last moment: %v", err)
	}
	now = now.Add(time.Nanosecond)
	if err := j.Redeem(late); !errors.Is(err, ErrJoinExpired) {
		t.Errorf("too late: %v", err)
	}
	now = expires.Add(-time.Second) // a clock that is set back doesn't revive it
	if err := j.Redeem(late); !errors.Is(err, ErrJoinToken) {
		t.Errorf("after the clock was set back: %v", err)
	}
	newToken(t, j, time.Minute)
	now = now.Add(2 * DefaultJoinTTL)
	newToken(t, j, time.Minute)
	if len(j.tokens) != 1 {
		t.Errorf("%d tokens are kept, one is valid", len(j.tokens))
	}
}

func TestJoinTokensFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.json")
	j := openTokens(t, path)
	token, _ := newToken(t, j, 0)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), token) {
		t.Errorf("the file tells the token: %v", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJoinTokens(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("broken: %v", err)
	}
}

// What can't be written down isn't answered: neither a new token, nor that one is used up.
func TestJoinTokensWithoutADisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	j := openTokens(t, filepath.Join(dir, "tokens.json"))
	token, _ := newToken(t, j, 0)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got, _, err := j.New(0); err == nil || got != "" || len(j.tokens) != 1 {
		t.Errorf("a token that isn't kept: %q, %v, %d known", got, err, len(j.tokens))
	}
	if err := j.Redeem(token); err == nil || errors.Is(err, ErrJoinToken) {
		t.Errorf("redeemed: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := j.Redeem(token); err != nil {
		t.Errorf("once there is a disk again: %v", err)
	}
}
