package ociimage

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Programs answers the files that programs of this host need in an image, each under its own path: the
// programs, their ELF interpreter and their shared libraries.
func Programs(paths ...string) (map[string]string, error) {
	files := map[string]string{}
	for _, p := range paths {
		if err := addProgram(files, "", p, p); err != nil {
			return nil, fmt.Errorf("program %s: %w", p, err)
		}
	}
	return files, nil
}

// Tree answers the files below a folder in which Debian packages were unpacked, documentation left out,
// together with what their programs need of this host.
func Tree(root string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(root, func(from string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(from, root)
		if strings.HasPrefix(name, "/usr/share/doc/") || strings.HasPrefix(name, "/usr/share/man/") {
			return nil
		}
		info, err := os.Stat(from)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a link to what another package has
		}
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		if info.Mode()&0o111 == 0 {
			files[name] = from
			return nil
		}
		return addProgram(files, root, name, from)
	})
	if err != nil {
		return nil, fmt.Errorf("packages in %s: %w", root, err)
	}
	return files, nil
}

// addProgram adds a file under a name, and what it needs: from root where that has it, or else the host's.
func addProgram(files map[string]string, root, name, from string) error {
	if _, ok := files[name]; ok {
		return nil
	}
	files[name] = from
	interpreter, libs, err := needed(from)
	if err != nil {
		return err
	}
	if interpreter != "" {
		if err := addProgram(files, root, interpreter, interpreter); err != nil {
			return err
		}
	}
	for _, lib := range libs {
		at, in, err := library(root, lib)
		if err != nil {
			return err
		}
		if err := addProgram(files, root, at, in+at); err != nil {
			return err
		}
	}
	return nil
}

// needed answers the interpreter and the libraries that an ELF file names; none for any other file.
func needed(p string) (interpreter string, libs []string, err error) {
	f, err := elf.Open(p)
	if err != nil {
		if _, ok := err.(*elf.FormatError); ok {
			return "", nil, nil
		}
		return "", nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if s := f.Section(".interp"); s != nil {
		b, err := s.Data()
		if err != nil {
			return "", nil, err
		}
		interpreter = strings.TrimRight(string(b), "\x00")
	}
	libs, err = f.ImportedLibraries()
	return interpreter, libs, err
}

// library finds a shared library where Debian's loader looks: below root, or else on this host.
func library(root, name string) (at, in string, err error) {
	for _, in := range []string{root, ""} {
		for _, pattern := range []string{"/lib/*-linux-gnu*/", "/usr/lib/*-linux-gnu*/", "/lib64/", "/lib/", "/usr/lib/"} {
			if found, _ := filepath.Glob(in + pattern + name); len(found) > 0 {
				return strings.TrimPrefix(found[0], in), in, nil
			}
		}
	}
	return "", "", fmt.Errorf("library %s: not on this host", name)
}
