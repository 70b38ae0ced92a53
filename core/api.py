"""The only module of core that a plugin imports, built in or third-party.

Light at run time: importing it does not import torch.
"""

from core.component import Component as Component
from core.component import Provider as Provider
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
from core.hookspecs import hookimpl as hookimpl
from core.learning import Batch as Batch
from core.learning import Execution as Execution
from core.learning import Fusable as Fusable
from core.learning import Loss as Loss
from core.learning import Metrics as Metrics
from core.learning import OptimizerFactory as OptimizerFactory
from core.learning import Parts as Parts
from core.learning import Phase as Phase
from core.learning import Returns as Returns
from core.learning import RowNetwork as RowNetwork
from core.learning import Scalars as Scalars
from core.learning import TraceOptimizer as TraceOptimizer
from core.protocols import DataSource as DataSource
from core.protocols import Environment as Environment
from core.protocols import Environments as Environments
from core.protocols import EnvironmentSpec as EnvironmentSpec
from core.protocols import Logger as Logger
from core.protocols import MaskAware as MaskAware
from core.protocols import MaskScheme as MaskScheme
from core.protocols import Networks as Networks
from core.protocols import Normaliser as Normaliser
