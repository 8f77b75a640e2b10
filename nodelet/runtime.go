package nodelet

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Classes of error that a host answers with. Wrap them.
var (
	ErrNotFound      = errors.New("not found")
	ErrAlreadyExists = errors.New("already exists")
	ErrCreate        = errors.New("container cannot be created")  // reason CreateContainerError
	ErrStart         = errors.New("container cannot be started")  // reason RunContainerError / StartError
	ErrImagePull     = errors.New("image cannot be pulled")       // ErrImagePull, then ImagePullBackOff
	ErrImageNever    = errors.New("image is not on this node")    // ErrImageNeverPull
	ErrImageName     = errors.New("image reference is not valid") // InvalidImageName
	ErrUnsupported   = errors.New("not supported on this host")
)

// Container is everything that a runtime needs to create one container. It is complete: the runtime
// looks nothing up.
type Container struct {
	ID        string // at most 76 of [A-Za-z0-9_.-]; see ContainerID
	Name      string // the container's name in the pod
	PodUID    string
	PodName   string
	Namespace string
	Attempt   int32 // restart count

	Image      Image
	Command    []string // entrypoint; empty: the image's
	Args       []string // empty: the image's, unless Command is set
	WorkingDir string   // empty: the image's
	Env        []string // KEY=value, on top of the image's

	Mounts     []Mount
	NetNS      string // path of the pod's network namespace
	IPCNS      string // path of the pod's IPC namespace; empty: one of the container's own
	Hostname   string
	CgroupPath string // absolute in the hierarchy: /<parent>/pod<UID>/<name>; made by the runtime, limits set at creation
	Resources  corev1.ResourceRequirements
	Unified    map[string]string // cgroup v2 files to write when the cgroup is made, besides its limits
	OOMScore   int               // oom_score_adj
	PodPID     bool              // share one PID namespace (unused unless the pod asks for it)

	Security *corev1.SecurityContext // the container's, with the pod's defaults merged in; may be nil
	Groups   []int64                 // supplementary groups, fsGroup included
	Sysctls  map[string]string

	LogPath            string // CRI log file, made by the runtime's logger; empty: discarded
	TerminationMessage string // host file bound at terminationMessagePath; informative

	Held string // of a held container: what it can be released as. Opaque; List answers it
}

// Mount is a bind mount, or a tmpfs where Source is "tmpfs".
type Mount struct {
	Source      string // host path
	Destination string // path in the container
	ReadOnly    bool
	Options     []string // more mount options
}

// Image is an unpacked image.
type Image struct {
	Ref    string // as asked for, normalised
	ID     string // sha256:… of the config: imageID in the status is Ref@Digest
	Digest string // sha256:… of the manifest
	User   string // the image's USER
	Size   int64

	StopSignal string // the image's STOPSIGNAL, by name or number; empty: SIGTERM
}

// State is where a container stands.
type State uint8

const (
	StateCreated State = iota + 1
	StateRunning
	StateExited
)

// ContainerState is a container as the runtime knows it, also after a restart of the nodelet.
type ContainerState struct {
	ID        string
	Name      string
	PodUID    string
	PodName   string
	Namespace string
	Attempt   int32
	State     State
	PID       int
	Image     Image
	CreatedAt time.Time
	StartedAt time.Time
	ExitedAt  time.Time
	ExitCode  int32
	OOMKilled bool
	LogPath   string
	Held      string // set while it is held
}

// Exit is the end of a container's first process.
type Exit struct {
	ID        string
	PodUID    string
	ExitCode  int32
	OOMKilled bool
	At        time.Time
}

// Runtime runs containers. All methods are idempotent where that has a meaning, and safe for
// concurrent use. Containers live on when the process that made them ends.
type Runtime interface {
	// Create prepares a container up to its start: snapshot, spec, shim, cgroup. Containers of one pod
	// share a shim. ErrAlreadyExists if the ID is taken.
	Create(ctx context.Context, c Container) error
	// Start starts it and answers its first process.
	Start(ctx context.Context, id string) (pid int, startedAt time.Time, err error)
	// Hold creates a container whose first process is there and waits for what it shall run: it is
	// StateCreated. ErrAlreadyExists if the ID is taken. The end of the waiting process is an Exit.
	Hold(ctx context.Context, c Container) error
	// Release starts a held container as c, which may differ from what was held in PodName, Hostname,
	// Command, Args, Env and LogPath. What the container's command makes fail is ErrStart, as with Start;
	// after any other error nothing of the command has run.
	Release(ctx context.Context, c Container) (pid int, startedAt time.Time, err error)
	// Kill sends a signal to the first process (all: to every process in the container). A container that ended is no error.
	Kill(ctx context.Context, id string, sig syscall.Signal, all bool) error
	// Remove deletes the container, killing it if need be. One that doesn't exist is no error.
	Remove(ctx context.Context, id string) error
	// List answers every container of this nodelet's, whatever its state.
	List(ctx context.Context) ([]ContainerState, error)
	// Exec runs a process in the container and returns when it has started.
	Exec(ctx context.Context, id string, e Exec) (Process, error)
	// Exits delivers ends of containers. An end that happens while nobody listens is found by List.
	Exits() <-chan Exit
}

// RecordUpdater is a Runtime that keeps a record of sizes of its own, which follows behind the kernel's
// values. UpdateRecord returns at once.
type RecordUpdater interface {
	UpdateRecord(id string, r corev1.ResourceRequirements)
}

// Exec is a process to run inside a container.
type Exec struct {
	Command []string
	TTY     bool
	Stdin   io.Reader // nil: none
	Stdout  io.Writer // nil: discarded
	Stderr  io.Writer // nil: discarded; unused with TTY
}

// Process is a running exec.
type Process interface {
	Resize(ctx context.Context, width, height uint32) error
	// Wait answers the exit code after all output was delivered. When ctx ends, the process is killed.
	Wait(ctx context.Context) (exitCode int32, err error)
}

// Credential is a login for a registry.
type Credential struct {
	Registry string // host[:port], as in a docker config
	Username string
	Password string
	Token    string // identity token
}

// Images keeps the node's images.
type Images interface {
	// Get answers an image that is on the node, ErrNotFound otherwise.
	Get(ctx context.Context, ref string) (Image, error)
	// Pull fetches and unpacks it. Concurrent pulls of one image share the work.
	Pull(ctx context.Context, ref string, creds []Credential) (Image, error)
	// Import reads an OCI or docker archive and answers the references in it.
	Import(ctx context.Context, archive io.Reader) ([]string, error)
	List(ctx context.Context) ([]Image, error)
}

// Network gives each pod a network namespace with an address.
type Network interface {
	// Attach makes the namespace, or answers the one that is there. Host ports are bound on the host, also
	// where the namespace was made without them.
	Attach(ctx context.Context, p PodNetwork) (Attachment, error)
	// Detach removes it. One that doesn't exist is no error.
	Detach(ctx context.Context, podUID string) error
	// List answers the pods that have one.
	List(ctx context.Context) ([]string, error)
}

// PodNetwork asks for a pod's network.
type PodNetwork struct {
	PodUID string
	Ports  []corev1.ContainerPort // those with a HostPort are forwarded
}

// Attachment is a pod's network.
type Attachment struct {
	NetNS string // path to enter it by
	IPCNS string // of the pod's IPC namespace, if it has one
	IP    string
}

// SharedMemory is the name under which Volumes answers what containers of a pod share at /dev/shm. No volume
// of a pod can have it.
const SharedMemory = ".shm"

// Volumes makes a pod's volumes on the host.
type Volumes interface {
	// Prepare makes every volume of the pod, or brings it up to date (config maps, secrets and
	// downward API change atomically), and answers a host path per volume. For a pod of several containers
	// it makes SharedMemory too, where the host has such a thing.
	Prepare(ctx context.Context, a Assignment, podIP string) (map[string]string, error)
	// Usage answers emptyDir volumes that are over their size limit, as "volume: used > limit".
	Usage(ctx context.Context, podUID string) (over []string, err error)
	// Remove deletes them. Volumes that don't exist are no error.
	Remove(ctx context.Context, podUID string) error
	// List answers the pods that have any.
	List(ctx context.Context) ([]string, error)
}
