package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/pprof"

	"k8s.io/client-go/kubernetes"
)

// profileSeconds is how long the control plane is profiled: what the server does after its work costs nothing.
const profileSeconds = "15"

// startProfiles begins CPU profiles of the control plane and of this process. What it answers ends them.
func startProfiles(ctx context.Context, client *kubernetes.Clientset, dir string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	own, err := os.Create(filepath.Join(dir, "load.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(own); err != nil {
		return nil, errors.Join(err, own.Close())
	}
	theirs := make(chan error, 1)
	go func() {
		raw, err := client.CoreV1().RESTClient().Get().AbsPath("/debug/pprof/profile").Param("seconds", profileSeconds).DoRaw(ctx)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "controlplane.pprof"), raw, 0o644)
		}
		theirs <- err
	}()
	return func() error {
		pprof.StopCPUProfile()
		return errors.Join(own.Close(), <-theirs)
	}, nil
}
