"""The only module of core that a plugin imports, built in or third-party.

Light at run time: importing it does not import torch.
"""

from core.chaining import Joining as Joining
from core.chaining import in_turn as in_turn
from core.commands import Catalogue as Catalogue
from core.commands import Catalogues as Catalogues
from core.commands import Command as Command
from core.commands import CommandContext as CommandContext
from core.commands import add_plugin_argument as add_plugin_argument
from core.compact import Compact as Compact
from core.compact import assign_dense as assign_dense
from core.compact import dense as dense
from core.compact import dense_shape as dense_shape
from core.compact import shaped_like as shaped_like
from core.compact import stored as stored
from core.component import AnyComponent as AnyComponent
from core.component import Component as Component
from core.component import Provider as Provider
from core.component import lazy as lazy
from core.config.load import load
from core.config.select import options_from as options_from
from core.contexts import DataContext as DataContext
from core.contexts import EnvironmentContext as EnvironmentContext
from core.contexts import ExecutionContext as ExecutionContext
from core.contexts import LoggerContext as LoggerContext
from core.contexts import LossContext as LossContext
from core.contexts import MaskContext as MaskContext
from core.contexts import NetworkContext as NetworkContext
from core.contexts import OptimizerContext as OptimizerContext
from core.contexts import RunInfo as RunInfo
from core.errors import OptionError as OptionError
from core.errors import RunStopped as RunStopped
from core.errors import UserError as UserError
from core.errors import did_you_mean as did_you_mean
from core.errors import require as require
from core.examining import BatchOptions as BatchOptions
from core.examining import Bracketing as Bracketing
from core.examining import Diagnostic as Diagnostic
from core.examining import ExamineContext as ExamineContext
from core.examining import Examined as Examined
from core.examining import Inspectable as Inspectable
from core.examining import Intervention as Intervention
from core.examining import Measured as Measured
from core.examining import Probe as Probe
from core.examining import Soft as Soft
from core.examining import Subject as Subject
from core.hookspecs import hookimpl as hookimpl
from core.learning import Average as Average
from core.learning import Averaging as Averaging
from core.learning import Batch as Batch
from core.learning import Execution as Execution
from core.learning import Fusable as Fusable
from core.learning import Loss as Loss
from core.learning import Metrics as Metrics
from core.learning import OptimizerFactory as OptimizerFactory
from core.learning import Parts as Parts
from core.learning import Phase as Phase
from core.learning import Refreshable as Refreshable
from core.learning import Returns as Returns
from core.learning import RowNetwork as RowNetwork
from core.learning import Scalars as Scalars
from core.learning import TraceOptimizer as TraceOptimizer
from core.native import library as library
from core.portable import dense_weights as dense_weights
from core.protocols import DataSource as DataSource
from core.protocols import Environment as Environment
from core.protocols import Environments as Environments
from core.protocols import EnvironmentSpec as EnvironmentSpec
from core.protocols import Logger as Logger
from core.protocols import MaskAware as MaskAware
from core.protocols import MaskScheme as MaskScheme
from core.protocols import Networks as Networks
from core.protocols import Normaliser as Normaliser
from core.protocols import Sampled as Sampled
from core.pruning import DynamicMasks as DynamicMasks
from core.pruning import MaskView as MaskView
from core.pruning import Stateful as Stateful
from core.readable import readable_time as readable_time
from core.studies import COLOURS as COLOURS
from core.studies import RUNS as RUNS
from core.studies import Figure as Figure
from core.studies import FigureContext as FigureContext
from core.studies import Picture as Picture
from core.studies import RecordedRun as RecordedRun
from core.studies import RunGroup as RunGroup
from core.studies import Series as Series
from core.studies import Study as Study
from core.studies import colour as colour

load_preset = load
"""Merged values of preset files and overrides, unchecked, with the origin of each."""
