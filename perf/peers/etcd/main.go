// Command etcd is etcd's own server, built from its module in the version that Swell embeds.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
