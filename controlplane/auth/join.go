package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"swell.dev/swell/internal/pki"
)

// JoinTokens are one-time tokens by which nodelets join. They are kept, hashed, in a file that is
// replaced as a whole before an answer is given: a token that was answered can be redeemed after a crash,
// and one that was redeemed never again.
type JoinTokens struct {
	path string
	now  func() time.Time

	mu     sync.Mutex           // guards tokens and the file
	tokens map[string]time.Time // hex SHA-256 → expiry
}

// DefaultJoinTTL is how long a join token is valid unless it is asked for otherwise.
const DefaultJoinTTL = time.Hour

// Errors of Redeem.
var (
	ErrJoinToken   = errors.New("the join token isn't known, or was used")
	ErrJoinExpired = errors.New("the join token has expired")
)

// OpenJoinTokens reads the file, which need not exist.
func OpenJoinTokens(path string) (*JoinTokens, error) {
	j := &JoinTokens{path: path, now: time.Now, tokens: map[string]time.Time{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("join tokens: %w", err)
	}
	if err := json.Unmarshal(b, &j.tokens); err != nil {
		return nil, fmt.Errorf("join tokens: %s: %w", path, err)
	}
	return j, nil
}

// New makes a token. A ttl of 0 is DefaultJoinTTL.
func (j *JoinTokens) New(ttl time.Duration) (token string, expires time.Time, err error) {
	if ttl == 0 {
		ttl = DefaultJoinTTL
	}
	if ttl < 0 {
		return "", time.Time{}, fmt.Errorf("join token: a lifetime of %s is not positive", ttl)
	}
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", time.Time{}, err
	}
	token = hex.EncodeToString(raw[:])
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	for t, end := range j.tokens {
		if now.After(end) {
			delete(j.tokens, t)
		}
	}
	expires = now.Add(ttl)
	j.tokens[hashed(token)] = expires
	if err := j.save(); err != nil {
		delete(j.tokens, hashed(token))
		return "", time.Time{}, err
	}
	return token, expires, nil
}

// Redeem uses a token up.
func (j *JoinTokens) Redeem(token string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := hashed(token)
	expires, ok := j.tokens[key]
	if !ok {
		return ErrJoinToken
	}
	delete(j.tokens, key)
	if err := j.save(); err != nil {
		j.tokens[key] = expires
		return err
	}
	if j.now().After(expires) {
		return ErrJoinExpired
	}
	return nil
}

func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func (j *JoinTokens) save() error {
	b, err := json.Marshal(j.tokens)
	if err == nil {
		err = pki.WriteFile(j.path, b)
	}
	if err != nil {
		return fmt.Errorf("join tokens: %w", err)
	}
	return nil
}
