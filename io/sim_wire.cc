#include <berth/io/sim_machine.h>
#include <berth/io/sim_wire.h>

#include <algorithm>
#include <cstring>

namespace berth::inline v0::io {

void SimPipe::take(char* to, std::size_t count) {
  BERTH_ASSERT(count <= size());
  std::memcpy(to, bytes_.data() + read_, count);
  read_ += count;
  if (read_ * 2 > bytes_.size()) {
    bytes_.erase(0, read_);
    read_ = 0;
  }
}

void SimPipe::drop_all() {
  bytes_.clear();
  read_ = 0;
}

TimePoint SimEndpoint::readable_at() const {
  if (kind == Kind::listener) {
    TimePoint first = kSimNever;
    for (const Waiting& waiting : backlog) first = std::min(first, waiting.arrives);
    return first;
  }
  if (in == nullptr) return kSimNever;
  if (in->size() > 0 || !in->writer_open || in->reset) return in->unreadable_until;
  return kSimNever;
}

TimePoint SimEndpoint::writable_at() const {
  if (out == nullptr) return TimePoint{};
  if (out->room() > 0 || !out->reader_open || !out->writer_open || out->reset) {
    return out->unwritable_until;
  }
  return kSimNever;
}

namespace {

std::shared_ptr<SimPipe> make_pipe_buffer(SimMachine& machine) {
  const bool small = machine.roll(Fault::small_pipe);
  return std::make_shared<SimPipe>(
      small ? kSimPipeBytesMin + machine.random().below(kSimPipeBytesMin) : kSimPipeBytes);
}

void break_pipe(SimMachine& machine, SimPipe& pipe) {
  pipe.reset = true;
  pipe.unreadable_until = pipe.unwritable_until = TimePoint{};
  if (machine.random().one_in(2)) pipe.drop_all();
}

}  // namespace

SimEndpointPair make_sim_pipe(SimMachine& machine) {
  SimEndpointPair ends;
  ends.first.kind = SimEndpoint::Kind::reader;
  ends.second.kind = SimEndpoint::Kind::writer;
  ends.first.in = ends.second.out = make_pipe_buffer(machine);
  return ends;
}

SimEndpointPair make_sim_connection(SimMachine& machine) {
  SimEndpointPair ends;
  ends.first.in = ends.second.out = make_pipe_buffer(machine);
  ends.first.out = ends.second.in = make_pipe_buffer(machine);
  return ends;
}

void close_endpoint(SimMachine& machine, SimEndpoint& endpoint) {
  for (SimEndpoint::Waiting& waiting : endpoint.backlog) {
    reset_endpoint(machine, waiting.endpoint);
  }
  endpoint.backlog.clear();
  const bool unread = endpoint.kind == SimEndpoint::Kind::socket && endpoint.in != nullptr &&
                      endpoint.in->size() > 0;
  if (unread) reset_endpoint(machine, endpoint);
  if (endpoint.in != nullptr) {
    endpoint.in->reader_open = false;
    endpoint.in->drop_all();
  }
  if (endpoint.out != nullptr) end_writing(machine, *endpoint.out);
}

void end_writing(SimMachine& machine, SimPipe& pipe) {
  if (!pipe.writer_open) return;
  pipe.writer_open = false;
  // The end is news like bytes are, unless bytes are on their way anyhow.
  if (pipe.size() == 0 && !pipe.reset) {
    pipe.unreadable_until = machine.now() + machine.pick_delay(kSimDelayMost);
  }
}

void reset_endpoint(SimMachine& machine, SimEndpoint& endpoint) {
  if (endpoint.in != nullptr) break_pipe(machine, *endpoint.in);
  if (endpoint.out != nullptr) break_pipe(machine, *endpoint.out);
}

}  // namespace berth::inline v0::io
