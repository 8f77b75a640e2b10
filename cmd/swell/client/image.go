package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/console"
	"swell.dev/swell/internal/fixed"
	"swell.dev/swell/internal/table"
)

func (a *app) newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "image",
		Aliases: []string{"images"},
		Short:   "Bring images to nodes without a registry, and list them",
		Args:    takes(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newImageImportCommand(), a.newImageListCommand())
	return cmd
}

func (a *app) newImageImportCommand() *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Import an OCI or docker archive",
		Long: `Import an OCI or docker archive (a tar) on one node or on all that are ready, and print the
references in it. FILE may be - for standard input. Run such an image with --pull missing or never.`,
		Example: `  swell image import app.tar
  docker save app:1 | swell image import -
  swell image import app.tar --node n1`,
		Args: takes("FILE"),
	}
	c := a.addConnection(cmd)
	a.addNode(c, cmd, &node)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		file, size, done, err := archive(cmd.InOrStdin(), args[0])
		if err != nil {
			return err
		}
		defer done()
		nodes, err := targetNodes(ctx, s, node)
		if err != nil {
			return err
		}
		for _, name := range nodes {
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				return err
			}
			bar := console.NewBar(file, size, name, cmd.ErrOrStderr(), console.IsTerminal(cmd.ErrOrStderr()), fixed.Bytes)
			images, err := importImage(ctx, s, name, bar)
			bar.Clear()
			if err != nil {
				return fmt.Errorf("node %s: %w", name, err)
			}
			for _, image := range images {
				fmt.Fprintf(cmd.OutOrStdout(), "%s imported on %s\n", image.Ref, name)
			}
		}
		return nil
	})
	return cmd
}

func (a *app) addNode(c *connection, cmd *cobra.Command, node *string) {
	cmd.Flags().StringVar(node, "node", "", "only this node (default: all that are ready)")
	_ = cmd.RegisterFlagCompletionFunc("node", a.complete(c, nodeNames))
}

// archive opens the file; standard input is kept in a temporary one, since it goes to several nodes.
func archive(stdin io.Reader, path string) (file *os.File, size int64, done func(), err error) {
	if path != "-" {
		if file, err = os.Open(path); err != nil {
			return nil, 0, nil, err
		}
		info, err := file.Stat()
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s: is a directory; give the archive's file", path)
		}
		if err != nil {
			return nil, 0, nil, errors.Join(err, file.Close())
		}
		return file, info.Size(), func() { file.Close() }, nil
	}
	if console.IsTerminal(stdin) {
		return nil, 0, nil, errors.New("standard input is a terminal: pipe the archive in, or name a file")
	}
	if file, err = os.CreateTemp("", "swell-image-*.tar"); err != nil {
		return nil, 0, nil, err
	}
	done = func() {
		file.Close()
		os.Remove(file.Name())
	}
	if size, err = io.Copy(file, stdin); err != nil {
		done()
		return nil, 0, nil, fmt.Errorf("standard input: %w", err)
	}
	return file, size, done, nil
}

// targetNodes answers that node, or all that are ready.
func targetNodes(ctx context.Context, s *session, node string) ([]string, error) {
	if node != "" {
		return []string{strings.TrimPrefix(node, "node/")}, nil
	}
	list, err := s.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var ready []string
	for i := range list.Items {
		if nodeReady(&list.Items[i]) {
			ready = append(ready, list.Items[i].Name)
		}
	}
	if len(ready) == 0 {
		return nil, errors.New("no node is ready; `swell nodes` shows their state")
	}
	return ready, nil
}

func importImage(ctx context.Context, s *session, node string, tar io.Reader) ([]v1alpha1.NodeImage, error) {
	// Streamed once: a body that was read can't be sent again, so the client must not retry.
	request := s.CoreV1().RESTClient().Post().AbsPath(group, "nodes", node, "images").MaxRetries(0).
		SetHeader("Content-Type", "application/x-tar").Body(tar)
	var answer v1alpha1.NodeImageList
	err := fetch(ctx, request, "image import", &answer)
	return answer.Images, err
}

func (a *app) newImageListCommand() *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images on nodes",
		Example: `  swell image ls
  swell image ls --node n1 -o json`,
		Args: takes(),
	}
	c := a.addConnection(cmd)
	a.addNode(c, cmd, &node)
	out := addFormat(cmd, formatWide, formatJSON, formatYAML, formatName)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		nodes, err := targetNodes(ctx, s, node)
		if err != nil {
			return err
		}
		all := map[string][]v1alpha1.NodeImage{}
		for _, name := range nodes {
			if all[name], err = nodeImages(ctx, s, name); err != nil {
				return fmt.Errorf("node %s: %w", name, err)
			}
		}
		return printImages(cmd.OutOrStdout(), out, nodes, all)
	})
	return cmd
}

func nodeImages(ctx context.Context, s *session, node string) ([]v1alpha1.NodeImage, error) {
	var images []v1alpha1.NodeImage
	err := fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath(group, "nodes", node, "images"), "images", &images)
	return images, err
}

func printImages(w io.Writer, out *format, nodes []string, all map[string][]v1alpha1.NodeImage) error {
	if out.structured() {
		return out.print(w, all)
	}
	var rows [][]string
	for _, node := range nodes {
		for _, image := range all[node] {
			if out.value == formatName {
				fmt.Fprintln(w, image.Ref)
				continue
			}
			id := strings.TrimPrefix(image.ID, "sha256:")
			row := []string{node, image.Ref, id[:min(12, len(id))], fixed.Bytes(image.Size)}
			if out.value == formatWide {
				row = append(row, image.Digest)
			}
			rows = append(rows, row)
		}
	}
	if out.value == formatName {
		return nil
	}
	columns := []table.Column{{Name: "NODE"}, {Name: "IMAGE"}, {Name: "ID"}, {Name: "SIZE", Right: true}}
	if out.value == formatWide {
		columns = append(columns, table.Column{Name: "DIGEST"})
	}
	return table.New(columns...).Print(w, rows...)
}
