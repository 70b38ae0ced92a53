// The one parallel loop. Every task writes places of its own, and which they are does not depend
// on the number of threads: so results are the same to the bit for any number, and no two threads
// write one place.
//
// OpenMP where the compiler has it. With OPENWORK_STD_THREADS on std::thread instead, for
// ThreadSanitizer, which does not see what GCC's OpenMP library synchronises.

#pragma once

#include <cstdint>

#if defined(OPENWORK_STD_THREADS)

#include <atomic>
#include <thread>
#include <vector>

template <class Task>
void parallel(int64_t tasks, int64_t threads, const Task &task) {
    std::atomic<int64_t> next{0};
    const auto work = [&] {
        for (int64_t i = next++; i < tasks; i = next++) task(i);
    };
    std::vector<std::thread> others;
    for (int64_t i = 1; i < threads && i < tasks; ++i) others.emplace_back(work);
    work();
    for (std::thread &other : others) other.join();
}

#else

template <class Task>
void parallel(int64_t tasks, int64_t threads, const Task &task) {
    // Nothing is started for one thread or one task.
    if (threads <= 1 || tasks <= 1) {
        for (int64_t i = 0; i < tasks; ++i) task(i);
        return;
    }
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic) num_threads(static_cast<int>(threads))
#endif
    for (int64_t i = 0; i < tasks; ++i) task(i);
}

#endif
