package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/ociimage"
)

// system is one round's: `swell up` on a fresh data directory, with the example server's image on its node.
type system struct {
	pods   typedcorev1.PodInterface
	client *kubernetes.Clientset
}

// image under which the example server is imported, and its program.
const (
	image   = "perf.example/httpserver:v1"
	program = "/httpserver"
)

// measure runs the rounds of series, each on a system of its own.
func (s *setting) measure(ctx context.Context, round func(*system) error, all ...*series) error {
	for range s.rounds {
		for _, one := range all {
			one.begin()
		}
		if err := s.withSystem(ctx, round); err != nil {
			return err
		}
	}
	return nil
}

// withSystem runs one round.
func (s *setting) withSystem(ctx context.Context, round func(*system) error) (err error) {
	dir, err := os.MkdirTemp("", "swell-perf-")
	if err != nil {
		return err
	}
	in, err := instance.New(instance.Config{
		Binary: filepath.Join(s.bin, "swell"), DataDir: filepath.Join(dir, "data"), Args: []string{"--capacity", "cpu=16,memory=16Gi"},
	})
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), time.Minute) // also after a Ctrl-C
		defer cancel()
		derr := in.Down(down)
		if derr == nil {
			derr = os.RemoveAll(dir)
		}
		err = errors.Join(err, derr)
	}()
	if err := in.Start(ctx); err != nil {
		return err
	}
	client, err := in.Client()
	if err != nil {
		return err
	}
	if err := s.importImage(ctx, client, dir); err != nil {
		return err
	}
	return round(&system{pods: client.CoreV1().Pods(metav1.NamespaceDefault), client: client})
}

func (s *setting) importImage(ctx context.Context, client *kubernetes.Clientset, dir string) error {
	img, err := ociimage.FromFiles(map[string]string{program: filepath.Join(s.bin, "httpserver")}, v1.Config{Entrypoint: []string{program}})
	if err != nil {
		return err
	}
	archive := filepath.Join(dir, "image.tar")
	if err := ociimage.WriteArchive(archive, image, img); err != nil {
		return err
	}
	return importArchive(ctx, client, archive)
}

// importArchive has all nodes take an image.
func importArchive(ctx context.Context, client *kubernetes.Clientset, archive string) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, n := range nodes.Items {
		f, err := os.Open(archive)
		if err != nil {
			return err
		}
		err = client.CoreV1().RESTClient().Post().AbsPath("/apis/swell.dev/v1alpha1/nodes", n.Name, "images").SetHeader("Content-Type", "application/x-tar").Body(f).Do(ctx).Error()
		if err != nil { // the client has closed the file
			return fmt.Errorf("image import on node %s: %w", n.Name, err)
		}
	}
	return nil
}

func pod(name string, cpu, memory string) *corev1.Pod {
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	grace := int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "main", Image: image, ImagePullPolicy: corev1.PullNever,
				Resources: corev1.ResourceRequirements{Requests: size, Limits: size},
			}},
		},
	}
}

// watch follows one pod from a version on.
func (y *system) watch(ctx context.Context, name, version string) (<-chan *corev1.Pod, func(), error) {
	w, err := y.pods.Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(), ResourceVersion: version,
	})
	if err != nil {
		return nil, nil, err
	}
	out := make(chan *corev1.Pod, 64)
	go func() {
		defer close(out)
		for ev := range w.ResultChan() {
			if p, ok := ev.Object.(*corev1.Pod); ok {
				select {
				case out <- p:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, w.Stop, nil
}

// until answers when a watched pod is first seen to be as wanted.
func until(ctx context.Context, pods <-chan *corev1.Pod, wanted func(*corev1.Pod) bool) (time.Time, error) {
	for {
		select {
		case p, ok := <-pods:
			if !ok {
				return time.Time{}, errors.New("the watch ended")
			}
			if wanted(p) {
				return time.Now(), nil
			}
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}
