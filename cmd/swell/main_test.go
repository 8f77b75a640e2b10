package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"swell.dev/swell/cmd/swell/client"
)

func TestExitCode(t *testing.T) {
	usage := &client.UsageError{Command: "swell ps", Err: errors.New("what?")}
	for name, c := range map[string]struct {
		err    error
		caught syscall.Signal
		code   int
		says   string
	}{
		"fine":        {nil, 0, 0, ""},
		"error":       {errors.New("it broke"), 0, 1, "swell: it broke\n"},
		"usage":       {usage, 0, 2, "swell ps: what?; see `swell ps --help`\n"},
		"passed on":   {fmt.Errorf("wrapped: %w", &client.ExitError{Code: 42}), 0, 42, ""},
		"interrupted": {fmt.Errorf("get: %w", context.Canceled), syscall.SIGINT, 130, ""},
		"terminated":  {context.Canceled, syscall.SIGTERM, 143, ""},
		"clean stop":  {nil, syscall.SIGTERM, 0, ""},
		"not by us":   {context.Canceled, 0, 1, "swell: context canceled\n"},
	} {
		root := newRoot()
		var out bytes.Buffer
		root.SetErr(&out)
		if code := exitCode(root, c.err, c.caught); code != c.code || out.String() != c.says {
			t.Errorf("%s: code %d, %q; want %d, %q", name, code, out.String(), c.code, c.says)
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	for args, want := range map[string]string{
		"resise": "swell: unknown command \"resise\"; did you mean \"resize\"?; see `swell --help`",
		"zzzzzz": "swell: unknown command \"zzzzzz\"; see `swell --help`",
	} {
		root := newRoot()
		root.SetArgs([]string{args})
		var usage *client.UsageError
		if err := root.Execute(); !errors.As(err, &usage) || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

// The first signal ends the context and is remembered.
func TestSignal(t *testing.T) {
	ctx, caught := untilSignal()
	if got := caught(); got != 0 {
		t.Errorf("caught %v before any", got)
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the context goes on")
	}
	if got := caught(); got != syscall.SIGTERM {
		t.Errorf("caught %v", got)
	}
}

// Every command says what it does; those that act show how.
func TestHelp(t *testing.T) {
	root := newRoot()
	for _, cmd := range root.Commands() {
		if cmd.Short == "" {
			t.Errorf("%s: no description", cmd.CommandPath())
		}
		for _, sub := range append(cmd.Commands(), cmd) {
			if sub.HasSubCommands() && sub.Name() != "nodes" {
				continue
			}
			if sub.Runnable() && sub.Example == "" && cmd.Name() != "completion" && cmd.Name() != "help" {
				t.Errorf("%s: no example", sub.CommandPath())
			}
		}
	}
}
