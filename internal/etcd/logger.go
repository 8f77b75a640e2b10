package etcd

import (
	"errors"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/natefinch/lumberjack.v2"
)

// logger keeps etcd's warnings in a file of bounded size, and learns from it that etcd gives up: etcd
// reports broken storage by a fatal log line, which would end the process without a word to the user.
type logger struct {
	zap    *zap.Logger
	file   *lumberjack.Logger
	once   sync.Once
	err    error         // valid once failed is closed
	failed chan struct{} // closed when etcd can't go on
}

func newLogger(path string) *logger {
	l := &logger{
		file:   &lumberjack.Logger{Filename: path, MaxSize: 10, MaxBackups: 2}, // MaxSize in MB
		failed: make(chan struct{}),
	}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(l.file), zapcore.WarnLevel)
	l.zap = zap.New(core, zap.WithFatalHook(hook{l}), zap.WithPanicHook(hook{l}), zap.ErrorOutput(zapcore.AddSync(l.file)))
	return l
}

func (l *logger) close() {
	l.file.Close()
}

type hook struct{ l *logger }

// OnWrite never returns: the goroutine that wrote a fatal line counts on that, and must not run its
// deferred calls either, which would close files under the others.
func (h hook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	h.l.once.Do(func() {
		h.l.err = errors.New(e.Message)
		for _, f := range fields {
			if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
				h.l.err = &failure{e.Message, err}
			}
		}
		close(h.l.failed)
	})
	select {}
}

type failure struct {
	what  string
	cause error
}

func (f *failure) Error() string { return f.what + ": " + f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }
