package containerd

import (
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"swell.dev/swell/nodelet"
)

// dockerHub are the names that a docker config may have for the registry of docker.io.
var dockerHub = []string{"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

// matching answers the credentials for an image, the most specific first. An entry of a docker config
// is host[:port][/path], with or without a scheme; labels of the host may be globs.
func matching(creds []nodelet.Credential, name string) []nodelet.Credential {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil
	}
	host, repo := reference.Domain(named), reference.Path(named)
	type match struct {
		cred nodelet.Credential
		path int
	}
	var found []match
	for _, c := range creds {
		where := c.Registry
		if _, rest, ok := strings.Cut(where, "://"); ok {
			where = rest
		}
		h, p, _ := strings.Cut(strings.TrimSuffix(where, "/"), "/")
		if p == "v1" || p == "v2" { // how old docker configs end
			p = ""
		}
		if !sameHost(h, host) || p != "" && p != repo && !strings.HasPrefix(repo, p+"/") {
			continue
		}
		found = append(found, match{c, len(p)})
	}
	slices.SortStableFunc(found, func(a, b match) int { return b.path - a.path })
	var list []nodelet.Credential
	for _, m := range found {
		list = append(list, m.cred)
	}
	return list
}

func sameHost(pattern, host string) bool {
	if slices.Contains(dockerHub, pattern) {
		return host == "docker.io"
	}
	want, have := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
