package runtimetest

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"swell.dev/swell/nodelet"
)

func images(t *testing.T, h *Host) {
	img, err := h.Images.Pull(t.Context(), h.Image, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(img.ID, "sha256:") || !strings.HasPrefix(img.Digest, "sha256:") || img.Size <= 0 ||
		!strings.HasSuffix(img.Ref, h.Image) {
		t.Errorf("pulled %+v", img)
	}
	got, err := h.Images.Get(t.Context(), h.Image)
	if err != nil || got != img {
		t.Errorf("got %+v, %v; pulled %+v", got, err, img)
	}
	list, err := h.Images.List(t.Context())
	if err != nil || !slices.Contains(list, img) {
		t.Errorf("listed %+v, %v", list, err)
	}
}

func imageRefused(t *testing.T, h *Host) {
	_, err := h.Images.Pull(t.Context(), h.Refused, nil)
	if !errors.Is(err, nodelet.ErrImagePull) || !strings.Contains(err.Error(), h.RefusedSays) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the pull answers %v", err)
	}
}

func imageMissing(t *testing.T, h *Host) {
	if _, err := h.Images.Get(t.Context(), "example.com/none:1"); !errors.Is(err, nodelet.ErrNotFound) {
		t.Errorf("get answers %v", err)
	}
	for _, bad := range []string{"", "Upper/Case", "a b", "x:::1", "host/repo@sha256:12"} {
		if _, err := h.Images.Get(t.Context(), bad); !errors.Is(err, nodelet.ErrImageName) {
			t.Errorf("get of %q answers %v", bad, err)
		}
		if _, err := h.Images.Pull(t.Context(), bad, nil); !errors.Is(err, nodelet.ErrImageName) {
			t.Errorf("pull of %q answers %v", bad, err)
		}
	}
	c := h.Container(t, "true")
	c.Image = nodelet.Image{Ref: "example.com/none:1"}
	if err := h.Runtime.Create(t.Context(), c); !errors.Is(err, nodelet.ErrCreate) {
		t.Errorf("create answers %v", err)
	}
}

func imageArchive(t *testing.T, h *Host) {
	f, err := os.Open(h.Archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	refs, err := h.Images.Import(t.Context(), f)
	if err != nil || !slices.Equal(refs, []string{h.ArchiveRef}) {
		t.Fatalf("imported %v, %v", refs, err)
	}
	if _, err := h.Images.Get(t.Context(), h.ArchiveRef); err != nil {
		t.Error(err)
	}
	if _, err := h.Images.Import(t.Context(), strings.NewReader("this is no archive")); err == nil {
		t.Error("text was imported")
	}
}
