"""Run the tasks of a kernel on all threads, or one after the other: the same machine code.

A kernel splits its work into tasks and calls ``parallel_for(task, count, threads, args)``.
A task is a function ``(args, slot, index)`` under ``@task``: `index` says which piece of the work, `slot` which
scratch buffer is free for it. Tasks are claimed one by one, so a thread that is held up does
not hold up the others; what a task computes may depend on its index only, never on its slot.

The parallel loop itself is compiled once for all kernels: it calls the task through a pointer.
"""

from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, register_model, typeof_impl

i8, i64 = ir.IntType(8), ir.IntType(64)
_CALL = ir.FunctionType(ir.VoidType(), [i8.as_pointer(), i64, i64])


class Task:
    """A function of (args, slot, index), as a value that compiled code can be cached with.

    (Numba refuses to cache a function that passes a dispatcher on: it would hold its address.)
    """

    def __init__(self, function):
        self.dispatcher = njit(nogil=True, error_model="numpy")(function)


def task(function):
    """Decorator: a function of (args, slot, index) for `parallel_for`."""
    return Task(function)


class _TaskType(types.Opaque):
    def __init__(self, dispatcher):
        self.dispatcher = dispatcher
        function = dispatcher.py_func
        super().__init__(f"Task({function.__module__}.{function.__qualname__})")


register_model(_TaskType)(models.OpaqueModel)


@typeof_impl.register(Task)
def _typeof_task(value, context):
    return _TaskType(value.dispatcher)


@lower_constant(_TaskType)
def _constant_task(context, builder, type_, value):
    return context.get_dummy_value()


@njit
def parallel_for(
    task,  # what to run
    count,  # number of tasks
    threads,  # number of slots: at most so many tasks run at once
    args,  # tuple handed to every task
):
    if threads < 2 or count < 2:
        for index in range(count):
            _invoke(task, args, 0, index)
    else:
        _run(_entry(task, args), _pin(args), _pin(0), count, min(threads, count))


@njit(parallel=True, nogil=True)
def _run(entry, args, claimed, count, slots):
    for slot in prange(slots):
        index = _claim(claimed)
        while index < count:
            _call(entry, args, slot, index)
            index = _claim(claimed)


@intrinsic
def num_threads(typingctx):
    """How many threads the caller may use (`numba.set_num_threads`).

    Numba's own `get_num_threads` holds a pointer that forbids caching the function it is used in.
    """

    def codegen(context, builder, signature, values):
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), []), "get_num_threads"
        )
        return builder.sext(builder.call(function, []), i64)

    return types.intp(), codegen


def _signature(typingctx, task, args):
    callee = types.Dispatcher(task.dispatcher)
    return typingctx.resolve_function_type(callee, (args, types.intp, types.intp), {})


@intrinsic
def _invoke(typingctx, task, args, slot, index):
    """Call the task."""
    signature = _signature(typingctx, task, args)

    def codegen(context, builder, _, values):
        result = task.dispatcher.get_compile_result(signature)
        context.add_linking_libs([result.library])
        return context.call_internal(builder, result.fndesc, signature, values[1:])

    return types.void(task, args, types.intp, types.intp), codegen


@intrinsic
def _entry(typingctx, task, args):
    """Address of a C function (args pointer, slot, index) that calls the task."""
    signature = _signature(typingctx, task, args)

    def codegen(context, builder, _, values):
        result = task.dispatcher.get_compile_result(signature)
        context.add_linking_libs([result.library])
        name = f"{result.fndesc.llvm_func_name}.task"
        module = builder.module
        if name in module.globals:
            function = module.globals[name]
        else:
            function = ir.Function(module, _CALL, name)
            function.linkage = "internal"
            inner = ir.IRBuilder(function.append_basic_block())
            pointer, slot, index = function.args
            data = context.get_value_type(args)
            unpacked = inner.load(inner.bitcast(pointer, data.as_pointer()), typ=data)
            callee = context.declare_function(module, result.fndesc)
            context.call_conv.call_function(
                inner, callee, signature.return_type, signature.args, [unpacked, slot, index]
            )
            inner.ret_void()
        return builder.ptrtoint(function, i64)

    return types.intp(task, args), codegen


@intrinsic
def _pin(typingctx, value):
    """Address of a copy of the value on the stack of the caller."""

    def codegen(context, builder, signature, values):
        return builder.ptrtoint(cgutils.alloca_once_value(builder, values[0]), i64)

    return types.intp(value), codegen


@intrinsic
def _claim(typingctx, counter):
    """Fetch and increment the shared counter at this address."""

    def codegen(context, builder, signature, values):
        pointer = builder.inttoptr(values[0], i64.as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(i64, 1), "monotonic")

    return types.intp(types.intp), codegen


@intrinsic
def _call(typingctx, entry, args, slot, index):
    def codegen(context, builder, signature, values):
        entry, args, slot, index = values
        function = builder.inttoptr(entry, _CALL.as_pointer())
        builder.call(function, [builder.inttoptr(args, i8.as_pointer()), slot, index])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), codegen
