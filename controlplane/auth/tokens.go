package auth

import (
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"swell.dev/swell/controlplane"
)

// TokenFile holds bearer tokens in Kubernetes' format, a line each: token,user,uid,"group1,group2". The
// file is read again when it has changed. Tokens are kept and compared by their SHA-256, so that the time
// of a look-up tells nothing of them.
type TokenFile struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex // guards what follows
	users   map[[sha256.Size]byte]controlplane.User
	read    time.Time // modification time of what was read
	size    int64
	checked time.Time
	wrong   string // what was last said to be wrong with it
}

// recheck is how long a change of the file may go unnoticed.
const recheck = time.Second

// NewTokenFile reads a file. One that doesn't exist holds no tokens, and is read when it appears. A change
// that can't be read leaves the tokens as they were, and is logged.
func NewTokenFile(path string, log *slog.Logger) (*TokenFile, error) {
	f := &TokenFile{path: path, log: log}
	return f, f.reload(time.Now())
}

func (f *TokenFile) lookup(token string) (controlplane.User, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.checked) > recheck {
		f.again(now)
	}
	user, ok := f.users[sha256.Sum256([]byte(token))]
	return user, ok
}

// again says once what is wrong with a changed file.
func (f *TokenFile) again(now time.Time) {
	wrong := ""
	if err := f.reload(now); err != nil {
		wrong = err.Error()
	}
	if wrong != f.wrong && wrong != "" {
		f.log.Error("bearer tokens stay as they were", "cause", wrong)
	}
	f.wrong = wrong
}

func (f *TokenFile) reload(now time.Time) error {
	f.checked = now
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.users, f.read, f.size = nil, time.Time{}, 0
		return nil
	}
	if err != nil {
		return fmt.Errorf("token file: %w", err)
	}
	if info.ModTime().Equal(f.read) && info.Size() == f.size {
		return nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("token file: %w", err)
	}
	defer file.Close()
	users, err := parseTokens(file)
	if err != nil {
		return fmt.Errorf("token file %s: %w", f.path, err)
	}
	f.users, f.read, f.size = users, info.ModTime(), info.Size()
	return nil
}

func parseTokens(r io.Reader) (map[[sha256.Size]byte]controlplane.User, error) {
	users := map[[sha256.Size]byte]controlplane.User{}
	lines := csv.NewReader(r)
	lines.FieldsPerRecord, lines.Comment, lines.TrimLeadingSpace = -1, '#', true
	for {
		record, err := lines.Read()
		if err == io.EOF {
			return users, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := lines.FieldPos(0)
		if len(record) < 3 || len(record) > 4 {
			return nil, fmt.Errorf(`line %d: %d fields, want token,user,uid,"group1,group2"`, line, len(record))
		}
		if record[0] == "" || record[1] == "" {
			return nil, fmt.Errorf("line %d: token and user must not be empty", line)
		}
		sum := sha256.Sum256([]byte(record[0]))
		if _, ok := users[sum]; ok {
			return nil, fmt.Errorf("line %d: the token stands on an earlier line too", line)
		}
		user := controlplane.User{Name: record[1], UID: record[2]}
		if len(record) == 4 && record[3] != "" {
			for g := range strings.SplitSeq(record[3], ",") {
				user.Groups = append(user.Groups, strings.TrimSpace(g))
			}
		}
		user.Groups = withAuthenticated(user.Groups)
		users[sum] = user
	}
}
