package ociimage

import (
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs answers the files that programs of this host need in an image, each under its own path: the
// programs, their ELF interpreter and their shared libraries.
func Programs(paths ...string) (map[string]string, error) {
	files := map[string]string{}
	for len(paths) > 0 {
		p := paths[0]
		paths = paths[1:]
		if _, ok := files[p]; ok {
			continue
		}
		files[p] = p
		needs, err := needed(p)
		if err != nil {
			return nil, fmt.Errorf("program %s: %w", p, err)
		}
		paths = append(paths, needs...)
	}
	return files, nil
}

// Package answers the files of an installed Debian package, documentation left out, together with what
// its programs need.
func Package(name string) (map[string]string, error) {
	out, err := exec.Command("dpkg-query", "-L", name).Output()
	if err != nil {
		return nil, fmt.Errorf("package %s: %w; install it with apt-get", name, err)
	}
	files := map[string]string{}
	for p := range strings.Lines(string(out)) {
		p = strings.TrimSpace(p)
		info, err := os.Stat(p)
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(p, "/usr/share/doc/") || strings.HasPrefix(p, "/usr/share/man/") {
			continue
		}
		files[p] = p
		if info.Mode()&0o111 == 0 {
			continue
		}
		needs, err := Programs(p)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", name, err)
		}
		maps.Copy(files, needs)
	}
	return files, nil
}

// needed answers the interpreter and the libraries that an ELF file names; none for any other file.
func needed(p string) ([]string, error) {
	f, err := elf.Open(p)
	if err != nil {
		if _, ok := err.(*elf.FormatError); ok {
			return nil, nil
		}
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	var needs []string
	if s := f.Section(".interp"); s != nil {
		b, err := s.Data()
		if err != nil {
			return nil, err
		}
		needs = append(needs, strings.TrimRight(string(b), "\x00"))
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, lib := range libs {
		at, err := library(lib)
		if err != nil {
			return nil, err
		}
		needs = append(needs, at)
	}
	return needs, nil
}

// library finds a shared library where Debian's loader looks.
func library(name string) (string, error) {
	for _, pattern := range []string{"/lib/*-linux-gnu*/", "/usr/lib/*-linux-gnu*/", "/lib64/", "/lib/", "/usr/lib/"} {
		if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("library %s: not on this host", name)
}
