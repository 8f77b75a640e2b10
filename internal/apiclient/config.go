// Package apiclient finds the API server that a command talks to, and says in plain words what went
// wrong when talking to it.
package apiclient

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// DefaultDataDir is where `swell up` keeps its data unless told otherwise.
const DefaultDataDir = "/var/lib/swell"

// KubeconfigName is the file that `swell up` writes in its data directory.
const KubeconfigName = "kubeconfig"

// Source says where to look for a kubeconfig: the first of Kubeconfig, DataDir, Environment and
// DefaultDataDir that is given. A user's own ~/.kube/config is not looked at: it leads to some other
// cluster, where a `swell rm` would do harm.
type Source struct {
	Kubeconfig  string // path of a file
	DataDir     string // directory with a file named KubeconfigName
	Environment string // value of $KUBECONFIG: paths, separated as in $PATH, merged
	Namespace   string // overrides the kubeconfig's

	defaultDataDir string // for tests; empty means DefaultDataDir
}

// Load answers how to reach the API and the namespace to use.
func (s Source) Load() (*rest.Config, string, error) {
	rules, err := s.rules()
	if err != nil {
		return nil, "", err
	}
	overrides := &clientcmd.ConfigOverrides{}
	overrides.Context.Namespace = s.Namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", name(rules), err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", name(rules), err)
	}
	// One person's command line needs no throttle of its own; the server has one for everybody.
	config.QPS = -1
	return config, namespace, nil
}

func (s Source) rules() (*clientcmd.ClientConfigLoadingRules, error) {
	if s.Kubeconfig == "" && s.DataDir == "" && s.Environment != "" {
		paths := filepath.SplitList(s.Environment)
		for _, p := range paths {
			if readable(p) == nil {
				return &clientcmd.ClientConfigLoadingRules{Precedence: paths}, nil
			}
		}
		return nil, fmt.Errorf("kubeconfig %s: %w; $KUBECONFIG names it: correct or unset that, or give --kubeconfig", s.Environment, readable(paths[0]))
	}
	path, hint := s.Kubeconfig, "give the path of the file that `swell up` wrote"
	if path == "" && s.DataDir != "" {
		path, hint = filepath.Join(s.DataDir, KubeconfigName), "start the system there with `swell up --data-dir "+s.DataDir+"`, or name another directory"
	}
	if path == "" {
		dir := s.defaultDataDir
		if dir == "" {
			dir = DefaultDataDir
		}
		path, hint = filepath.Join(dir, KubeconfigName), "start the system with `swell up`, or name a kubeconfig with --kubeconfig or $KUBECONFIG"
	}
	if err := readable(path); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			hint = "run as the user that started `swell up`, or copy the file and name it with --kubeconfig"
		}
		return nil, fmt.Errorf("kubeconfig %s: %w; %s", path, err, hint)
	}
	return &clientcmd.ClientConfigLoadingRules{ExplicitPath: path}, nil
}

// readable answers nil or the bare cause.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			return pathErr.Err
		}
		return err
	}
	return f.Close()
}

func name(rules *clientcmd.ClientConfigLoadingRules) string {
	if rules.ExplicitPath != "" {
		return rules.ExplicitPath
	}
	return rules.Precedence[0]
}
