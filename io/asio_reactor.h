// io/asio_reactor.h — the `asio` engine: a reactor on epoll, by itself or in an asio::io_context.
#pragma once

#include <berth/core/result.h>
#include <berth/io/reactor.h>

#include <memory>

namespace asio {
class io_context;
}

namespace berth::inline v0::io {

/// The engine by itself: run() waits in epoll. Error `overloaded` when descriptors are short.
Result<std::unique_ptr<Reactor>> make_asio_reactor();

/// The engine in `context`, which may be the host program's: its turns run in handlers of that
/// context, between the host's own. See run_in().
Result<std::unique_ptr<Reactor>> make_asio_reactor(asio::io_context& context);

/// Lets the turns of `reactor`, of any engine on descriptors, run as handlers of `context`: one
/// when its wait_fd() is readable, when next_deadline() has come, and when something was started
/// from outside of a turn. Before its first turn, once, for good.
///
/// Threads: the one that runs the context is the reactor's thread, bound by the first turn and
/// asserted by each: one thread may run the context.
/// Work: the context's run() goes on while an operation is started, a timer armed or something
/// posted, and not for an idle reactor. What comes by post_remote() then is a handler like any that
/// another thread posts: it waits for the next run() (hold a work guard to receive it at any time).
/// Reactor::run() runs the context, so the host's handlers too, until Reactor::stop() or until the
/// context is stopped; stop() does not stop the context. Neither needs to be called.
/// Lifetime: `context` outlives the reactor, which may go before or after the context was stopped.
/// Errors: `overloaded` when descriptors are short, `unsupported` for a reactor of the simulator.
Result<void> run_in(asio::io_context& context, Reactor& reactor);

}  // namespace berth::inline v0::io
